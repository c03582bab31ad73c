"""Segments are opened, found, removed and left."""

import os
import unittest

import tombolo


class Segments(unittest.TestCase):
    def test_a_name_is_found_until_it_is_removed(self):
        name = f"python/{os.getpid()}.name"
        segment = tombolo.create(name)
        self.addCleanup(segment.leave)
        self.assertEqual(tombolo.open(name).id, segment.id)
        with self.assertRaises(FileExistsError) as raised:
            tombolo.create(name)
        self.assertIn("tombolo rm", str(raised.exception))
        segment.remove()
        with self.assertRaises(tombolo.NotFound):
            tombolo.open(name)


if __name__ == "__main__":
    unittest.main()
