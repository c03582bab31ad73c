// boost::interprocess::message_queue for the peers: what its documentation's
// example does, as functions that can be called from outside C++. None of them
// throws; what cannot be done is nothing or false.

#include <boost/interprocess/ipc/message_queue.hpp>

using boost::interprocess::create_only;
using boost::interprocess::message_queue;
using boost::interprocess::open_only;

extern "C" {

bool boost_queue_create(const char *name, std::size_t messages, std::size_t bytes) {
    try {
        message_queue queue(create_only, name, messages, bytes);
        return true;
    } catch (...) {
        return false;
    }
}

message_queue *boost_queue_open(const char *name) {
    try {
        return new message_queue(open_only, name);
    } catch (...) {
        return nullptr;
    }
}

void boost_queue_close(message_queue *queue) { delete queue; }

bool boost_queue_send(message_queue *queue, const void *message, std::size_t bytes) {
    try {
        queue->send(message, bytes, 0);
        return true;
    } catch (...) {
        return false;
    }
}

bool boost_queue_receive(message_queue *queue, void *message, std::size_t bytes) {
    try {
        message_queue::size_type received = 0;
        unsigned int priority = 0;
        queue->receive(message, bytes, received, priority);
        return received == bytes;
    } catch (...) {
        return false;
    }
}

// 1: done; 0: there is no room; -1: it cannot be done.
int boost_queue_try_send(message_queue *queue, const void *message, std::size_t bytes) {
    try {
        return queue->try_send(message, bytes, 0);
    } catch (...) {
        return -1;
    }
}

// 1: done; 0: there is nothing; -1: it cannot be done.
int boost_queue_try_receive(message_queue *queue, void *message, std::size_t bytes) {
    try {
        message_queue::size_type received = 0;
        unsigned int priority = 0;
        if (!queue->try_receive(message, bytes, received, priority)) {
            return 0;
        }
        return received == bytes ? 1 : -1;
    } catch (...) {
        return -1;
    }
}

}
