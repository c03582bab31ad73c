"""Workers that may be killed: each job is done, and none is lost.

One worker kills itself with a job in hand; another one gets that job."""

import multiprocessing
import os
import signal

import tombolo

JOBS = 20


def work(jobs, results):
    for _ in iter(int, 1):
        try:
            with jobs.take(timeout=10) as job:
                if job.value == 7 and job.attempts == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                results.send((job.value, job.value**2))
        except tombolo.Disconnected:
            return


def main():
    with tombolo.anonymous() as segment:
        jobs = segment.channel("jobs", "u64", JOBS)
        results = segment.channel("results", "Square{of:u64,is_:u64}", JOBS, lasting=True)
        sender, receiver = jobs.sender(), results.receiver()
        handles = jobs.receiver(), results.sender()
        workers = [multiprocessing.Process(target=work, args=handles) for _ in range(3)]
        for worker in workers:
            worker.start()
        sender.send_batch(range(JOBS))
        squares = sorted(receiver.recv(timeout=30) for _ in range(JOBS))
        assert squares == [(number, number**2) for number in range(JOBS)]
        for end in (sender, *handles):
            end.close()
        for worker in workers:
            worker.join()
        killed = sum(worker.exitcode == -signal.SIGKILL for worker in workers)
        print(f"{JOBS} jobs are done; {killed} worker was killed over one of them")


if __name__ == "__main__":
    main()
