"""Tasks of asyncio that share a channel, and a time-out that loses nothing."""

import asyncio

import tombolo


async def work(name, jobs, results):
    async for job in jobs:
        await results.asend(f"{name} did {job.decode()}".encode())


async def main():
    with tombolo.anonymous() as segment:
        jobs = segment.bytes("jobs", capacity=4, longest=64)
        results = segment.bytes("results", capacity=4, longest=64)
        job_sender, job_receiver = jobs.sender(), jobs.receiver()
        result_sender, result_receiver = results.sender(), results.receiver()
        try:
            await asyncio.wait_for(job_receiver.arecv(), 0.01)
        except TimeoutError:
            pass
        workers = [
            asyncio.create_task(work(name, job_receiver, result_sender)) for name in ("Ada", "Bob")
        ]
        done = []
        for number in range(10):
            await job_sender.asend(b"job %d" % number)
            done.append(await result_receiver.arecv())
        job_sender.close()
        await asyncio.gather(*workers)
        assert len(done) == 10
        print(done[0].decode())


if __name__ == "__main__":
    asyncio.run(main())
