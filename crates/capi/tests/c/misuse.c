// Whatever a caller does wrong, short of a wrong pointer, is an error with a message.

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tombolo.h"

static int failures;

static void expect(int line, const char *call, int result, int wanted) {
    if (result == wanted && (wanted >= 0 || *tombolo_last_error() != '\0'))
        return;
    fprintf(stderr, "line %d: %s is %d, and not %d (%s)\n", line, call, result, wanted,
            tombolo_last_error());
    failures++;
}

#define IS(wanted, call) expect(__LINE__, #call, call, wanted)
#define NO(call) IS(-EINVAL, call)

static void of_nothing(void) {
    char byte = 0;
    size_t length;
    void *none = NULL;
    tombolo_event event = {.struct_size = sizeof event};
    NO(tombolo_segment_open(NULL, NULL, NULL));
    NO(tombolo_segment_open("x", NULL, NULL));
    NO(tombolo_segment_anonymous(NULL, NULL));
    NO(tombolo_segment_inherit(NULL));
    NO(tombolo_segment_close(NULL));
    NO(tombolo_segment_remove(NULL));
    NO(tombolo_segment_remove_named(NULL));
    NO(tombolo_segment_state(NULL));
    NO(tombolo_segment_command(NULL, TOMBOLO_PING, TOMBOLO_NOW));
    NO(tombolo_segment_name(NULL) == NULL ? -EINVAL : 0);
    NO(tombolo_channel_inspect(NULL, "x", NULL));
    NO(tombolo_sender_open(NULL, "x", NULL, NULL));
    NO(tombolo_sender_close(NULL));
    NO(tombolo_send(NULL, &byte, 1, TOMBOLO_NOW));
    NO(tombolo_send_batch(NULL, NULL, 0, TOMBOLO_NOW));
    NO(tombolo_reserve(NULL, 1, TOMBOLO_NOW, NULL));
    NO(tombolo_grant_data(NULL, &length) == NULL ? -EINVAL : 0);
    NO(tombolo_grant_commit(NULL, 1));
    NO(tombolo_grant_abort(NULL));
    NO(tombolo_wait_for_subscribers(NULL, 1, TOMBOLO_NOW));
    NO(tombolo_sender_cancel(NULL, 1));
    NO(tombolo_sender_status(NULL, NULL));
    NO(tombolo_sender_fd(NULL));
    NO(tombolo_receiver_open(NULL, "x", NULL, NULL));
    NO(tombolo_receiver_close(NULL));
    NO(tombolo_recv(NULL, &byte, 1, NULL, TOMBOLO_NOW));
    NO(tombolo_recv_batch(NULL, NULL, 1, TOMBOLO_NOW));
    NO(tombolo_batch_new(NULL));
    NO(tombolo_batch_get(NULL, 0, NULL) == NULL ? -EINVAL : 0);
    NO(tombolo_batch_free(NULL));
    NO(tombolo_take(NULL, TOMBOLO_NOW, NULL));
    NO(tombolo_delivery_data(NULL, NULL) == NULL ? -EINVAL : 0);
    NO(tombolo_delivery_attempts(NULL));
    NO(tombolo_delivery_release(NULL));
    NO(tombolo_delivery_give_back(NULL, 0));
    NO(tombolo_receiver_cancel(NULL, 1));
    NO(tombolo_receiver_status(NULL, NULL));
    NO(tombolo_receiver_fd(NULL));
    NO(tombolo_wait_set_new(NULL, NULL));
    NO(tombolo_wait_set_add_receiver(NULL, NULL, 0));
    NO(tombolo_wait_set_add_sender(NULL, NULL, 0));
    NO(tombolo_wait_set_remove(NULL, 0));
    NO(tombolo_wait_set_wait(NULL, NULL, 0, TOMBOLO_NOW));
    NO(tombolo_wait_set_wake(NULL));
    NO(tombolo_wait_set_free(NULL));
    NO(tombolo_client_open(NULL, "x", NULL, NULL));
    NO(tombolo_call(NULL, none, 0, none, 0, NULL, TOMBOLO_NOW));
    NO(tombolo_client_close(NULL));
    NO(tombolo_server_open(NULL, "x", NULL, NULL));
    NO(tombolo_serve(NULL, TOMBOLO_NOW, NULL));
    NO(tombolo_request_data(NULL, NULL) == NULL ? -EINVAL : 0);
    NO(tombolo_reply(NULL, &byte, 1));
    NO(tombolo_refuse(NULL));
    NO(tombolo_server_close(NULL));
    NO(tombolo_events_open(NULL, NULL));
    NO(tombolo_events_next(NULL, &event, TOMBOLO_NOW));
    NO(tombolo_events_close(NULL));
}

static void of_segments(const char *name) {
    tombolo_segment *segment, *other;
    tombolo_options options = {.struct_size = sizeof options, .how = TOMBOLO_OPEN};
    IS(-ENOENT, tombolo_segment_open(name, &options, &segment));
    IS(0, segment != NULL);
    NO(tombolo_segment_open("no name, for it has spaces", NULL, &segment));
    NO(tombolo_segment_open("\xff\xfe", NULL, &segment));
    options.struct_size = 3;
    NO(tombolo_segment_open(name, &options, &segment));
    options.struct_size = sizeof options;
    options.how = 7;
    NO(tombolo_segment_open(name, &options, &segment));
    options.how = TOMBOLO_CREATE;
    options.size = 1 << 20;
    // A later form of the options, which says nothing that this build does not know; and one that
    // does.
    struct {
        tombolo_options known;
        uint64_t later;
    } later = {options, 0};
    later.known.struct_size = sizeof later;
    later.later = 1;
    IS(-E2BIG, tombolo_segment_open(name, &later.known, &segment));
    later.later = 0;
    IS(0, tombolo_segment_open(name, &later.known, &segment));
    IS(-EEXIST, tombolo_segment_open(name, &options, &other));
    // An earlier form, which ends with how.
    options.struct_size = offsetof(tombolo_options, flags);
    options.how = TOMBOLO_OPEN;
    IS(0, tombolo_segment_open(name, &options, &other));
    IS(0, strcmp(tombolo_segment_name(other), name));
    IS(0, tombolo_segment_close(&other));
    IS(0, tombolo_segment_close(&other));
    IS(TOMBOLO_STATE_OPEN, tombolo_segment_state(segment));
    NO(tombolo_segment_command(segment, 99, TOMBOLO_NOW));
    IS(-ENOENT, tombolo_segment_inherit(&other));
    IS(0, tombolo_segment_close(&segment));
}

static tombolo_channel lines(uint32_t kind) {
    return (tombolo_channel){
        .struct_size = sizeof(tombolo_channel), .kind = kind, .longest = 8, .capacity = 2};
}

static void of_channels(const char *name) {
    tombolo_segment *segment;
    tombolo_sender *sender, *second;
    tombolo_receiver *receiver;
    tombolo_grant *grant, *another;
    tombolo_delivery *delivery, *held;
    tombolo_batch *batch;
    char room[8];
    size_t length;
    IS(0, tombolo_segment_open(name, NULL, &segment));
    IS(-ENOENT, tombolo_sender_open(segment, "none", NULL, &sender));
    tombolo_channel wanted = lines(77);
    NO(tombolo_sender_open(segment, "lines", &wanted, &sender));
    wanted = lines(TOMBOLO_MPMC);
    NO(tombolo_sender_open(segment, "lines", &wanted, &sender));
    wanted = lines(TOMBOLO_SPSC_BYTES);
    wanted.flags = 1U << 30;
    NO(tombolo_sender_open(segment, "lines", &wanted, &sender));
    wanted.flags = 0;
    NO(tombolo_sender_open(segment, NULL, &wanted, &sender));
    IS(0, tombolo_sender_open(segment, "lines", &wanted, &sender));
    IS(-EADDRINUSE, tombolo_sender_open(segment, "lines", &wanted, &second));
    wanted.longest = 9;
    IS(-EPROTOTYPE, tombolo_receiver_open(segment, "lines", &wanted, &receiver));
    IS(0, tombolo_receiver_open(segment, "lines", NULL, &receiver));
    IS(0, tombolo_batch_new(&batch));
    IS(-EAGAIN, tombolo_recv(receiver, room, sizeof room, &length, TOMBOLO_NOW));
    IS(-ETIMEDOUT, tombolo_recv(receiver, room, sizeof room, &length, 1000000));
    IS(-EAGAIN, tombolo_recv_batch(receiver, batch, 4, TOMBOLO_NOW));
    IS(-EAGAIN, tombolo_take(receiver, TOMBOLO_NOW, &delivery));
    IS(-EMSGSIZE, tombolo_recv(receiver, room, sizeof room - 1, &length, TOMBOLO_NOW));
    IS(-EMSGSIZE, tombolo_send(sender, "too long for it", 15, TOMBOLO_NOW));
    IS(-EMSGSIZE, tombolo_reserve(sender, 15, TOMBOLO_NOW, &grant));
    NO(tombolo_send(sender, NULL, 3, TOMBOLO_NOW));
    NO(tombolo_send(sender, room, (size_t)-1, TOMBOLO_NOW));
    IS(-EOPNOTSUPP, tombolo_wait_for_subscribers(sender, 1, TOMBOLO_NOW));
    // One thing at a time.
    IS(0, tombolo_reserve(sender, 8, TOMBOLO_NOW, &grant));
    IS(-EBUSY, tombolo_reserve(sender, 8, TOMBOLO_NOW, &another));
    IS(-EBUSY, tombolo_send(sender, "a", 1, TOMBOLO_NOW));
    void *place = tombolo_grant_data(grant, &length);
    IS(8, (int)length);
    memcpy(place, "a line!!", length);
    IS(0, tombolo_grant_commit(&grant, 6));
    NO(tombolo_grant_commit(&grant, 6));
    IS(0, tombolo_grant_abort(&grant));
    IS(0, tombolo_take(receiver, TOMBOLO_NOW, &delivery));
    IS(-EBUSY, tombolo_take(receiver, TOMBOLO_NOW, &held));
    IS(0, memcmp(tombolo_delivery_data(delivery, &length), "a line", 6));
    IS(6, (int)length);
    IS(0, tombolo_delivery_give_back(&delivery, 1));
    NO(tombolo_delivery_give_back(&delivery, 1));
    IS(0, tombolo_delivery_release(&delivery));
    IS(1, tombolo_recv_batch(receiver, batch, 4, TOMBOLO_NOW));
    IS(0, memcmp(tombolo_batch_get(batch, 0, &length), "a line", 6));
    NO(tombolo_batch_get(batch, 1, NULL) == NULL ? -EINVAL : 0);
    tombolo_status status = {.struct_size = sizeof status};
    IS(0, tombolo_receiver_status(receiver, &status));
    IS(8, (int)status.element_size);
    status.struct_size = 5;
    NO(tombolo_receiver_status(receiver, &status));
    NO(tombolo_receiver_status(receiver, NULL));
    // Cancelled, and not.
    IS(0, tombolo_receiver_cancel(receiver, 1));
    IS(-ECANCELED, tombolo_recv(receiver, room, sizeof room, NULL, TOMBOLO_FOREVER));
    IS(0, tombolo_receiver_cancel(receiver, 0));
    // Closed while something is held, in whichever order.
    IS(0, tombolo_send(sender, "last", 4, TOMBOLO_NOW));
    IS(0, tombolo_take(receiver, TOMBOLO_NOW, &delivery));
    IS(0, tombolo_receiver_close(&receiver));
    IS(0, tombolo_segment_close(&segment));
    IS(0, memcmp(tombolo_delivery_data(delivery, NULL), "last", 4));
    IS(0, tombolo_delivery_release(&delivery));
    IS(-EPIPE, tombolo_send(sender, "none", 4, TOMBOLO_FOREVER));
    IS(0, tombolo_sender_close(&sender));
    NO(tombolo_send(sender, "none", 4, TOMBOLO_NOW));
    IS(0, tombolo_batch_free(&batch));
}

static void of_sets_and_services(const char *name) {
    tombolo_segment *segment;
    tombolo_wait_set *set;
    tombolo_sender *sender;
    tombolo_receiver *receiver;
    tombolo_client *client;
    tombolo_server *server;
    tombolo_request *request;
    tombolo_ready ready[4];
    char room[8];
    size_t length;
    tombolo_channel wanted = lines(TOMBOLO_MPMC_BYTES);
    IS(0, tombolo_segment_open(name, NULL, &segment));
    IS(0, tombolo_sender_open(segment, "set", &wanted, &sender));
    IS(0, tombolo_receiver_open(segment, "set", &wanted, &receiver));
    IS(0, tombolo_wait_set_new(segment, &set));
    IS(0, tombolo_wait_set_add_receiver(set, receiver, 7));
    IS(-EEXIST, tombolo_wait_set_add_sender(set, sender, 7));
    IS(0, tombolo_wait_set_wait(set, ready, 4, TOMBOLO_NOW));
    IS(0, tombolo_wait_set_wait(set, ready, 4, 1000000));
    IS(0, tombolo_wait_set_wake(set));
    IS(0, tombolo_wait_set_wait(set, ready, 4, TOMBOLO_FOREVER));
    NO(tombolo_wait_set_wait(set, NULL, 4, TOMBOLO_NOW));
    IS(0, tombolo_send(sender, "x", 1, TOMBOLO_NOW));
    IS(1, tombolo_wait_set_wait(set, ready, 4, TOMBOLO_FOREVER));
    IS(7, (int)ready[0].key);
    IS(0, tombolo_wait_set_add_sender(set, sender, 8));
    IS(2, tombolo_wait_set_wait(set, ready, 4, TOMBOLO_FOREVER));
    IS(1, tombolo_wait_set_wait(set, ready, 1, TOMBOLO_FOREVER));
    IS(-ENOENT, tombolo_wait_set_remove(set, 9));
    IS(0, tombolo_wait_set_remove(set, 8));
    IS(0, tombolo_receiver_close(&receiver));
    // The set has a share of it.
    IS(1, tombolo_wait_set_wait(set, ready, 4, TOMBOLO_NOW));
    IS(0, tombolo_wait_set_free(&set));
    IS(0, tombolo_sender_close(&sender));

    IS(-ENOENT, tombolo_client_open(segment, "calls", NULL, &client));
    tombolo_service calls = {.struct_size = sizeof calls, .capacity = 2, .longest_request = 4,
                             .longest_reply = 4};
    IS(0, tombolo_client_open(segment, "calls", &calls, &client));
    IS(-ETIMEDOUT, tombolo_call(client, "a", 1, room, 8, &length, 1000000));
    IS(-EMSGSIZE, tombolo_call(client, "too long", 8, room, 8, &length, 1000000));
    IS(0, tombolo_server_open(segment, "calls", &calls, &server));
    IS(-EAGAIN, tombolo_serve(server, TOMBOLO_NOW, &request));
    IS(-ETIMEDOUT, tombolo_serve(server, 1000000, &request));
    IS(0, tombolo_server_close(&server));
    IS(-EPIPE, tombolo_call(client, "a", 1, room, 8, &length, TOMBOLO_FOREVER));
    IS(0, tombolo_client_close(&client));

    // Of elements.
    tombolo_service squares = {
        .struct_size = sizeof squares, .capacity = 2, .request_size = 4, .request_align = 4,
        .request_schema = "u32", .reply_size = 8, .reply_align = 8};
    NO(tombolo_client_open(segment, "squares", &squares, &client));
    squares.reply_schema = "u64";
    IS(0, tombolo_client_open(segment, "squares", &squares, &client));
    squares.reply_schema = "i64";
    IS(-EPROTOTYPE, tombolo_server_open(segment, "squares", &squares, &server));
    IS(0, tombolo_server_open(segment, "squares", NULL, &server));
    IS(-EMSGSIZE, tombolo_call(client, "abc", 3, room, 8, &length, TOMBOLO_FOREVER));
    IS(-EMSGSIZE, tombolo_call(client, "abcde", 5, room, 8, &length, TOMBOLO_FOREVER));
    IS(-ETIMEDOUT, tombolo_call(client, "abcd", 4, room, 8, &length, 1000000));
    IS(-EAGAIN, tombolo_serve(server, TOMBOLO_NOW, &request));
    IS(0, tombolo_server_close(&server));
    IS(0, tombolo_client_close(&client));
    // Gone, and everybody is told.
    IS(0, tombolo_receiver_open(segment, "set", &wanted, &receiver));
    IS(0, tombolo_segment_remove(segment));
    IS(-EIDRM, tombolo_recv(receiver, room, sizeof room, NULL, TOMBOLO_FOREVER));
    IS(0, tombolo_receiver_close(&receiver));
    IS(0, tombolo_segment_close(&segment));
    IS(-ENOENT, tombolo_segment_remove_named(name));
}

static void of_children(void) {
    tombolo_segment *segment;
    tombolo_sender *sender;
    tombolo_receiver *receiver;
    tombolo_delivery *delivery;
    tombolo_channel wanted = lines(TOMBOLO_MPMC_BYTES);
    char room[8];
    IS(0, tombolo_segment_anonymous(NULL, &segment));
    IS(0, tombolo_sender_open(segment, "lines", &wanted, &sender));
    IS(0, tombolo_receiver_open(segment, "lines", &wanted, &receiver));
    IS(0, tombolo_send(sender, "one", 3, TOMBOLO_NOW));
    IS(0, tombolo_take(receiver, TOMBOLO_NOW, &delivery));
    int before = failures;
    pid_t child = fork();
    if (child == 0) {
        IS(-ECHILD, tombolo_send(sender, "two", 3, TOMBOLO_NOW));
        IS(-ECHILD, tombolo_recv(receiver, room, sizeof room, NULL, TOMBOLO_NOW));
        IS(0, tombolo_delivery_release(&delivery));
        tombolo_receiver_close(&receiver);
        tombolo_sender_close(&sender);
        tombolo_segment_close(&segment);
        _exit(failures != before);
    }
    int status;
    waitpid(child, &status, 0);
    IS(0, status);
    // The child has acknowledged nothing.
    IS(0, memcmp(tombolo_delivery_data(delivery, NULL), "one", 3));
    IS(0, tombolo_delivery_give_back(&delivery, 0));
    IS(0, tombolo_recv(receiver, room, sizeof room, NULL, TOMBOLO_NOW));
    IS(0, tombolo_receiver_close(&receiver));
    IS(0, tombolo_sender_close(&sender));
    IS(0, tombolo_segment_close(&segment));
}

static tombolo_client *shared_client;
static volatile int calls_are_over;

static void *call_in_vain(void *unused) {
    char room[4];
    while (!calls_are_over)
        tombolo_call(shared_client, "a", 1, room, sizeof room, NULL, 20000);
    return unused;
}

// Forked while other threads are in calls, and hold whatever they lock.
static void of_children_of_threads(void) {
    tombolo_segment *segment;
    tombolo_server *server;
    tombolo_request *request;
    tombolo_service calls = {.struct_size = sizeof calls, .capacity = 8, .longest_request = 4,
                             .longest_reply = 4};
    pthread_t threads[3];
    char room[4];
    IS(0, tombolo_segment_anonymous(NULL, &segment));
    IS(0, tombolo_client_open(segment, "calls", &calls, &shared_client));
    IS(0, tombolo_server_open(segment, "calls", &calls, &server));
    for (int at = 0; at < 3; at++)
        IS(0, pthread_create(&threads[at], NULL, call_in_vain, NULL));
    for (int round = 0; round < 30; round++) {
        int before = failures;
        pid_t child = fork();
        if (child == 0) {
            // It does not hang.
            alarm(20);
            IS(-ECHILD, tombolo_call(shared_client, "a", 1, room, 4, NULL, TOMBOLO_NOW));
            IS(-ECHILD, tombolo_serve(server, TOMBOLO_NOW, &request));
            IS(0, tombolo_client_close(&shared_client));
            IS(0, tombolo_server_close(&server));
            _exit(failures != before);
        }
        int status;
        waitpid(child, &status, 0);
        IS(0, status);
    }
    calls_are_over = 1;
    for (int at = 0; at < 3; at++)
        IS(0, pthread_join(threads[at], NULL));
    IS(0, tombolo_client_close(&shared_client));
    IS(0, tombolo_server_close(&server));
    IS(0, tombolo_segment_close(&segment));
}

// A check that receives itself.
static tombolo_receiver *others;
static int checked;

static int is_over(void *context) {
    char room[8];
    IS(-EAGAIN, tombolo_recv(others, room, sizeof room, NULL, TOMBOLO_NOW));
    ++*(int *)context;
    return checked == 3;
}

static void of_interruptions(void) {
    tombolo_segment *segment;
    tombolo_receiver *receiver;
    tombolo_channel wanted = lines(TOMBOLO_MPMC_BYTES);
    char room[8];
    IS(0, tombolo_segment_anonymous(NULL, &segment));
    IS(0, tombolo_receiver_open(segment, "one", &wanted, &receiver));
    IS(0, tombolo_receiver_open(segment, "two", &wanted, &others));
    IS(0, tombolo_interrupt(is_over, &checked));
    IS(-EINTR, tombolo_recv(receiver, room, sizeof room, NULL, TOMBOLO_FOREVER));
    IS(3, checked);
    IS(0, tombolo_interrupt(NULL, NULL));
    IS(-ETIMEDOUT, tombolo_recv(receiver, room, sizeof room, NULL, 20000000));
    IS(3, checked);
    IS(0, tombolo_receiver_close(&others));
    IS(0, tombolo_receiver_close(&receiver));
    IS(0, tombolo_segment_close(&segment));
}

static tombolo_receiver *shared_receiver;

static void *receive_many(void *counted) {
    char room[8];
    int *count = counted;
    while (tombolo_recv(shared_receiver, room, sizeof room, NULL, TOMBOLO_FOREVER) == 0)
        ++*count;
    return NULL;
}

static void of_threads(void) {
    tombolo_segment *segment;
    tombolo_sender *sender;
    tombolo_channel wanted = lines(TOMBOLO_MPMC_BYTES);
    pthread_t threads[4];
    int counts[4] = {0}, sum = 0;
    IS(0, tombolo_segment_anonymous(NULL, &segment));
    IS(0, tombolo_receiver_open(segment, "lines", &wanted, &shared_receiver));
    IS(0, tombolo_sender_open(segment, "lines", &wanted, &sender));
    for (int n = 0; n < 4; n++)
        pthread_create(&threads[n], NULL, receive_many, &counts[n]);
    for (int n = 0; n < 2000; n++)
        IS(0, tombolo_send(sender, "x", 1, TOMBOLO_FOREVER));
    IS(0, tombolo_sender_close(&sender));
    for (int n = 0; n < 4; n++) {
        pthread_join(threads[n], NULL);
        sum += counts[n];
    }
    IS(2000, sum);
    IS(0, tombolo_receiver_close(&shared_receiver));
    IS(0, tombolo_segment_close(&segment));
}

int main(int argc, char **argv) {
    if (argc != 2)
        return 2;
    of_nothing();
    of_segments(argv[1]);
    of_channels(argv[1]);
    of_sets_and_services(argv[1]);
    of_children();
    of_children_of_threads();
    of_interruptions();
    of_threads();
    return failures != 0;
}
