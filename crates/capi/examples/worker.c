// Jobs that survive their workers: a worker takes a job, does it, and only then acknowledges it.
// Kill a worker in the middle, and another one gets its job.
//
//     worker send 3      sends three jobs
//     worker work        does jobs until nobody sends any more
//
// cc -o worker worker.c $(pkg-config --cflags --libs tombolo)

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tombolo.h"

static int fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, tombolo_last_error());
    return 1;
}

static int send_jobs(tombolo_segment *segment, const tombolo_channel *jobs, int count) {
    tombolo_sender *sender;
    if (tombolo_sender_open(segment, "jobs", jobs, &sender) < 0)
        return fail("cannot open the channel");
    for (int n = 1; n <= count; n++) {
        char job[32];
        int length = snprintf(job, sizeof job, "job %d", n);
        if (tombolo_send(sender, job, (size_t)length, TOMBOLO_FOREVER) < 0)
            return fail("cannot send");
    }
    return tombolo_sender_close(&sender) < 0 ? fail("cannot close") : 0;
}

static int work(tombolo_segment *segment, const tombolo_channel *jobs) {
    tombolo_receiver *receiver;
    if (tombolo_receiver_open(segment, "jobs", jobs, &receiver) < 0)
        return fail("cannot open the channel");
    for (;;) {
        tombolo_delivery *job;
        int result = tombolo_take(receiver, TOMBOLO_FOREVER, &job);
        if (result == -EPIPE)
            break;
        if (result < 0)
            return fail("cannot take a job");
        size_t length;
        const char *text = tombolo_delivery_data(job, &length);
        printf("%.*s, attempt %d\n", (int)length, text, tombolo_delivery_attempts(job) + 1);
        fflush(stdout);
        // The job is done; only now:
        tombolo_delivery_release(&job);
    }
    return tombolo_receiver_close(&receiver) < 0 ? fail("cannot close") : 0;
}

int main(int argc, char **argv) {
    const char *name = getenv("TOMBOLO_SEGMENT");
    tombolo_channel jobs = {.struct_size = sizeof jobs,
                            .kind = TOMBOLO_MPMC_BYTES,
                            .longest = 1024,
                            .capacity = 100};
    tombolo_segment *segment;
    if (tombolo_segment_open(name != NULL ? name : "example", NULL, &segment) < 0)
        return fail("cannot open the segment");
    int status = 2;
    if (argc > 2 && strcmp(argv[1], "send") == 0)
        status = send_jobs(segment, &jobs, atoi(argv[2]));
    else if (argc > 1 && strcmp(argv[1], "work") == 0)
        status = work(segment, &jobs);
    else
        fprintf(stderr, "usage: worker send COUNT | worker work\n");
    tombolo_segment_close(&segment);
    return status;
}
