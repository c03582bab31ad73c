"""A loader of batches, as for training in PyTorch: several processes prepare batches, which come in
order. A process that is killed is replaced, and its batch is prepared by another one.

    for batch in Loader(dataset, batch_size=4, workers=2): ..."""

import os
import signal

import tombolo

BATCHES = 12


class Loader:
    """The batches of a dataset: anything with `len` and an index."""

    def __init__(self, dataset, batch_size, workers, method=None):
        self.dataset, self.batch_size = dataset, batch_size
        self.ctx = tombolo.get_context(method)
        self.wanted, self.ready = self.ctx.Queue(), self.ctx.Queue()
        self.workers = [self.start() for _ in range(workers)]
        self.replaced = 0

    def start(self):
        args = self.dataset, self.wanted, self.ready
        worker = self.ctx.Process(target=prepare, args=args, daemon=True)
        worker.start()
        return worker

    def __iter__(self):
        starts = range(0, len(self.dataset), self.batch_size)
        for number, start in enumerate(starts):
            self.wanted.put((number, range(start, min(start + self.batch_size, len(self.dataset)))))
        early = {}
        for number in range(len(starts)):
            while number not in early:
                self.replace_the_dead()
                try:
                    ready, batch = self.ready.get(timeout=0.1)
                except tombolo.Empty:
                    continue
                # A worker that was killed may have sent its batch before.
                if ready >= number:
                    early[ready] = batch
            yield early.pop(number)

    def replace_the_dead(self):
        for at, worker in enumerate(self.workers):
            if not worker.is_alive():
                self.workers[at] = self.start()
                self.replaced += 1

    def close(self):
        for worker in self.workers:
            worker.terminate()
        for worker in self.workers:
            worker.join()


def prepare(dataset, wanted, ready):
    for job in wanted.take_each():
        number, indices = job.value
        if number == 3 and job.attempts == 0:
            # The kernel is short of memory, say.
            os.kill(os.getpid(), signal.SIGKILL)
        ready.put((number, [dataset[index] for index in indices]))


class Squares:
    """A dataset."""

    def __len__(self):
        return 4 * BATCHES

    def __getitem__(self, index):
        return index**2


def main():
    loader = Loader(Squares(), batch_size=4, workers=2)
    batches = list(loader)
    loader.close()
    assert [item for batch in batches for item in batch] == [n**2 for n in range(4 * BATCHES)]
    print(f"{len(batches)} batches; {loader.replaced} worker was replaced")


if __name__ == "__main__":
    main()
