"""Segments are opened, found, removed and left."""

import os
import unittest

import tombolo


class Segments(unittest.TestCase):
    def test_a_name_is_found_until_it_is_removed(self):
        name = f"python/{os.getpid()}.name"
        segment = tombolo.Segment.create(name)
        self.addCleanup(segment.leave)
        self.assertEqual(tombolo.Segment.open(name).id, segment.id)
        with self.assertRaises(FileExistsError):
            tombolo.Segment.create(name)
        segment.remove()
        with self.assertRaises(tombolo.NotFound):
            tombolo.Segment.open(name)


if __name__ == "__main__":
    unittest.main()
