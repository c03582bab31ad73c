// Tombolo for C++17: the functions of tombolo.h as classes that close what they own.
//
//     tombolo::segment segment("log");
//     tombolo::sender lines(segment, "lines", tombolo::channel::bytes(100, 4096));
//     lines.send("a line");
//
// Each class owns one handle and can be moved, not copied; an empty one has been moved from, or
// its handle has gone. What fails throws tombolo::error, with the number and the message of
// tombolo.h. What may come to nothing in its time returns false, nullopt, an empty handle or 0
// instead: with tombolo::now at once, with a duration after that time; without a time it waits.
// Threads, forks and crashes: as tombolo.h says.

#ifndef TOMBOLO_HPP
#define TOMBOLO_HPP

#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "tombolo.h"

namespace tombolo {

// What a function of tombolo.h has refused.
class error : public std::runtime_error {
public:
    error(int code, const std::string &message) : std::runtime_error(message), code_(code) {}

    // The errno, as EPIPE.
    int code() const noexcept { return code_; }

private:
    int code_;
};

// For how long a call waits.
class timeout {
public:
    template <class Rep, class Period>
    constexpr timeout(std::chrono::duration<Rep, Period> time)
        : ns_(std::chrono::duration_cast<std::chrono::nanoseconds>(time).count()) {
        if (ns_ < 0)
            ns_ = TOMBOLO_NOW;
    }

    static constexpr timeout forever() { return timeout(std::int64_t{TOMBOLO_FOREVER}); }

    constexpr std::int64_t ns() const noexcept { return ns_; }

private:
    constexpr explicit timeout(std::int64_t ns) : ns_(ns) {}

    std::int64_t ns_;
};

constexpr timeout now = timeout(std::chrono::nanoseconds(0));
constexpr timeout forever = timeout::forever();

namespace detail {

[[noreturn]] inline void fail(int result) { throw error(-result, tombolo_last_error()); }

inline int check(int result) {
    if (result < 0)
        fail(result);
    return result;
}

// Whether it was done; not, if the time was up.
inline bool in_time(int result) {
    if (result == -EAGAIN || result == -ETIMEDOUT)
        return false;
    check(result);
    return true;
}

template <class T> const T *check(const T *pointer) {
    if (pointer == nullptr)
        fail(-EINVAL);
    return pointer;
}

// A handle, and the function that ends it.
template <class T, int (*End)(T **)> class handle {
public:
    handle() = default;
    handle(handle &&other) noexcept : raw_(std::exchange(other.raw_, nullptr)) {}
    handle &operator=(handle &&other) noexcept {
        if (this != &other) {
            End(&raw_);
            raw_ = std::exchange(other.raw_, nullptr);
        }
        return *this;
    }
    handle(const handle &) = delete;
    handle &operator=(const handle &) = delete;
    ~handle() { End(&raw_); }

    explicit operator bool() const noexcept { return raw_ != nullptr; }
    // For functions of tombolo.h.
    T *get() const noexcept { return raw_; }
    T **out() noexcept { return &raw_; }

    // Ends it, and throws what the destructor would not tell.
    void close() { check(End(&raw_)); }

protected:
    T *raw_ = nullptr;
};

} // namespace detail

// The options of a segment, as the fields of tombolo_options.
struct options : tombolo_options {
    options() : tombolo_options{} { struct_size = sizeof(tombolo_options); }
};

class segment : public detail::handle<tombolo_segment, tombolo_segment_close> {
public:
    segment() = default;
    // Opens it, or creates it if there is none.
    explicit segment(const std::string &name, const options &how = {}) {
        detail::check(tombolo_segment_open(name.c_str(), &how, &raw_));
    }

    static segment anonymous(const options &how = {}) {
        segment made;
        detail::check(tombolo_segment_anonymous(&how, &made.raw_));
        return made;
    }

    static segment inherited() {
        segment made;
        detail::check(tombolo_segment_inherit(&made.raw_));
        return made;
    }

    static void remove(const std::string &name) {
        detail::check(tombolo_segment_remove_named(name.c_str()));
    }

    void remove() { detail::check(tombolo_segment_remove(raw_)); }
    std::string name() const { return detail::check(tombolo_segment_name(raw_)); }
    int state() const { return detail::check(tombolo_segment_state(raw_)); }
    int command(std::uint32_t command, timeout time) {
        return detail::check(tombolo_segment_command(raw_, command, time.ns()));
    }
};

// A channel to open, or to create if it has a capacity: the fields of tombolo_channel.
class channel {
public:
    // Whatever there is.
    channel() { raw_.struct_size = sizeof raw_; }

    // Messages of any length, up to this one.
    static channel bytes(std::size_t capacity = 0, std::size_t longest = 0) {
        channel wanted;
        wanted.raw_.kind = TOMBOLO_MPMC_BYTES;
        wanted.raw_.capacity = capacity;
        wanted.raw_.longest = longest;
        return wanted;
    }

    // Values of a type, with its schema, as "Order{id:u64,price:f64}".
    template <class T> static channel of(std::string schema, std::size_t capacity = 0) {
        static_assert(std::is_trivially_copyable_v<T>, "a message is bytes that can be copied");
        channel wanted;
        wanted.raw_.kind = TOMBOLO_MPMC;
        wanted.raw_.element_size = sizeof(T);
        wanted.raw_.element_align = alignof(T);
        wanted.raw_.capacity = capacity;
        wanted.schema_ = std::move(schema);
        return wanted;
    }

    // One sender and one receiver.
    channel &&spsc() && { return kind(TOMBOLO_SPSC, TOMBOLO_SPSC_BYTES); }
    // Each subscriber gets every message.
    channel &&broadcast() && { return kind(TOMBOLO_BROADCAST, TOMBOLO_BROADCAST_BYTES); }
    channel &&lasting() && { return flag(TOMBOLO_LASTING); }
    // A subscriber for which publishers wait.
    channel &&reliable() && { return flag(TOMBOLO_RELIABLE); }
    channel &&from_oldest() && { return flag(TOMBOLO_FROM_OLDEST); }
    channel &&redeliver(std::uint32_t times) && {
        raw_.redeliver = times;
        return times == 0 ? flag(TOMBOLO_DROP) : std::move(*this);
    }
    channel &&publishers(std::uint16_t most) && {
        raw_.publishers = most;
        return std::move(*this);
    }
    channel &&reliable_subscribers(std::uint16_t most) && {
        raw_.reliable = most;
        return std::move(*this);
    }

    tombolo_channel raw() const {
        tombolo_channel raw = raw_;
        raw.schema = schema_.c_str();
        return raw;
    }

private:
    channel &&kind(std::uint32_t elements, std::uint32_t bytes) {
        raw_.kind = raw_.kind == TOMBOLO_MPMC ? elements : bytes;
        return std::move(*this);
    }
    channel &&flag(std::uint32_t flag) {
        raw_.flags |= flag;
        return std::move(*this);
    }

    tombolo_channel raw_{};
    std::string schema_;
};

// A place in a channel for one message. Dropped, it is given up.
class grant : public detail::handle<tombolo_grant, tombolo_grant_abort> {
public:
    void *data() const {
        return const_cast<void *>(detail::check<void>(tombolo_grant_data(raw_, nullptr)));
    }
    std::size_t size() const {
        std::size_t room = 0;
        detail::check<void>(tombolo_grant_data(raw_, &room));
        return room;
    }
    template <class T> T *as() const {
        static_assert(std::is_trivially_copyable_v<T>);
        if (size() < sizeof(T))
            throw error(EMSGSIZE, "the place has less room than the type");
        return static_cast<T *>(data());
    }
    // Sends the first `length` bytes; of an element, all of it.
    void commit(std::size_t length) { detail::check(tombolo_grant_commit(&raw_, length)); }
    void commit() { commit(size()); }
};

class sender : public detail::handle<tombolo_sender, tombolo_sender_close> {
public:
    sender() = default;
    sender(const segment &in, const std::string &name, const channel &wanted = {}) {
        tombolo_channel raw = wanted.raw();
        detail::check(tombolo_sender_open(in.get(), name.c_str(), &raw, &raw_));
    }

    // Whether it was sent in time.
    bool send(const void *data, std::size_t length, timeout time = forever) {
        return detail::in_time(tombolo_send(raw_, data, length, time.ns()));
    }
    bool send(std::string_view message, timeout time = forever) {
        return send(message.data(), message.size(), time);
    }
    template <class T> bool send_value(const T &value, timeout time = forever) {
        static_assert(std::is_trivially_copyable_v<T>);
        return send(&value, sizeof value, time);
    }
    // How many were sent in time.
    std::size_t send_batch(const std::vector<tombolo_bytes> &messages, timeout time = forever) {
        int sent = tombolo_send_batch(raw_, messages.data(), messages.size(), time.ns());
        return detail::in_time(sent) ? static_cast<std::size_t>(sent) : 0;
    }
    // Room for a message; empty if there was none in time.
    grant reserve(std::size_t length, timeout time = forever) {
        grant made;
        detail::in_time(tombolo_reserve(raw_, length, time.ns(), made.out()));
        return made;
    }
    bool wait_for_subscribers(std::uint64_t subscribers, timeout time = forever) {
        return detail::in_time(tombolo_wait_for_subscribers(raw_, subscribers, time.ns()));
    }
    void cancel(bool cancelled = true) {
        detail::check(tombolo_sender_cancel(raw_, cancelled ? 1 : 0));
    }
    tombolo_status status() const {
        tombolo_status status{};
        status.struct_size = sizeof status;
        detail::check(tombolo_sender_status(raw_, &status));
        return status;
    }
    int fd() const { return detail::check(tombolo_sender_fd(raw_)); }
};

// A message in hand. Dropped, it is acknowledged.
class delivery : public detail::handle<tombolo_delivery, tombolo_delivery_release> {
public:
    const void *data() const { return detail::check<void>(tombolo_delivery_data(raw_, nullptr)); }
    std::size_t size() const { return view().size(); }
    std::string_view view() const {
        std::size_t length = 0;
        const void *data = detail::check<void>(tombolo_delivery_data(raw_, &length));
        return {static_cast<const char *>(data), length};
    }
    // A copy of the value.
    template <class T> T value() const {
        static_assert(std::is_trivially_copyable_v<T>);
        T value;
        if (size() != sizeof value)
            throw error(EMSGSIZE, "the message has another size than the type");
        std::memcpy(&value, data(), sizeof value);
        return value;
    }
    int attempts() const { return detail::check(tombolo_delivery_attempts(raw_)); }
    void release() { close(); }
    void give_back(bool failed = false) {
        detail::check(tombolo_delivery_give_back(&raw_, failed ? 1 : 0));
    }
};

// Messages that were received together.
class batch : public detail::handle<tombolo_batch, tombolo_batch_free> {
public:
    batch() { detail::check(tombolo_batch_new(&raw_)); }

    std::string_view operator[](std::size_t index) const {
        std::size_t length = 0;
        const void *data = detail::check<void>(tombolo_batch_get(raw_, index, &length));
        return {static_cast<const char *>(data), length};
    }
};

class receiver : public detail::handle<tombolo_receiver, tombolo_receiver_close> {
public:
    receiver() = default;
    receiver(const segment &in, const std::string &name, const channel &wanted = {}) {
        tombolo_channel raw = wanted.raw();
        detail::check(tombolo_receiver_open(in.get(), name.c_str(), &raw, &raw_));
    }

    // Receives into `message`, in place of what was there; whether one came in time.
    bool recv(std::string &message, timeout time = forever) {
        message.resize(longest());
        std::size_t length = 0;
        int result = tombolo_recv(raw_, message.data(), message.size(), &length, time.ns());
        message.resize(length);
        return detail::in_time(result);
    }
    template <class T> std::optional<T> recv_value(timeout time = forever) {
        static_assert(std::is_trivially_copyable_v<T>);
        T value;
        std::size_t length = 0;
        if (!detail::in_time(tombolo_recv(raw_, &value, sizeof value, &length, time.ns())))
            return std::nullopt;
        if (length != sizeof value)
            throw error(EMSGSIZE, "the message has another size than the type");
        return value;
    }
    // How many came in time: up to `most`.
    std::size_t recv_batch(batch &into, std::size_t most, timeout time = forever) {
        int came = tombolo_recv_batch(raw_, into.get(), most, time.ns());
        return detail::in_time(came) ? static_cast<std::size_t>(came) : 0;
    }
    // A message in hand; empty if none came in time.
    delivery take(timeout time = forever) {
        delivery made;
        detail::in_time(tombolo_take(raw_, time.ns(), made.out()));
        return made;
    }
    void cancel(bool cancelled = true) {
        detail::check(tombolo_receiver_cancel(raw_, cancelled ? 1 : 0));
    }
    tombolo_status status() const {
        tombolo_status status{};
        status.struct_size = sizeof status;
        detail::check(tombolo_receiver_status(raw_, &status));
        return status;
    }
    int fd() const { return detail::check(tombolo_receiver_fd(raw_)); }

private:
    std::size_t longest() {
        if (longest_ == 0)
            longest_ = status().element_size;
        return longest_;
    }

    std::size_t longest_ = 0;
};

class wait_set : public detail::handle<tombolo_wait_set, tombolo_wait_set_free> {
public:
    explicit wait_set(const segment &of) { detail::check(tombolo_wait_set_new(of.get(), &raw_)); }

    void add(const receiver &member, std::uint64_t key) {
        detail::check(tombolo_wait_set_add_receiver(raw_, member.get(), key));
    }
    void add(const sender &member, std::uint64_t key) {
        detail::check(tombolo_wait_set_add_sender(raw_, member.get(), key));
    }
    void remove(std::uint64_t key) { detail::check(tombolo_wait_set_remove(raw_, key)); }
    // The members that are ready; none if the time is up, or wake() was called.
    std::vector<tombolo_ready> wait(timeout time = forever, std::size_t most = 64) {
        std::vector<tombolo_ready> ready(most);
        int count = tombolo_wait_set_wait(raw_, ready.data(), ready.size(), time.ns());
        ready.resize(static_cast<std::size_t>(detail::check(count)));
        return ready;
    }
    void wake() { detail::check(tombolo_wait_set_wake(raw_)); }
};

// A service to open, or to create if it has a capacity: the fields of tombolo_service.
struct service : tombolo_service {
    service(std::size_t calls = 0, std::size_t request = 0, std::size_t reply = 0)
        : tombolo_service{} {
        struct_size = sizeof(tombolo_service);
        capacity = calls;
        longest_request = request;
        longest_reply = reply;
    }
};

class client : public detail::handle<tombolo_client, tombolo_client_close> {
public:
    client() = default;
    client(const segment &in, const std::string &name, const service &wanted = {}) {
        detail::check(tombolo_client_open(in.get(), name.c_str(), &wanted, &raw_));
    }

    // The reply; nullopt if none came in time. It must not be longer than `longest`.
    std::optional<std::string> call(std::string_view request, std::size_t longest,
                                    timeout time = forever) {
        std::string reply(longest, '\0');
        std::size_t length = 0;
        int result = tombolo_call(raw_, request.data(), request.size(), reply.data(), reply.size(),
                                  &length, time.ns());
        if (!detail::in_time(result))
            return std::nullopt;
        if (length > longest)
            throw error(EMSGSIZE, "the reply is longer than that");
        reply.resize(length);
        return reply;
    }
};

// A call in hand. Dropped, it is refused.
class request : public detail::handle<tombolo_request, tombolo_refuse> {
public:
    std::string_view view() const {
        std::size_t length = 0;
        const void *data = detail::check<void>(tombolo_request_data(raw_, &length));
        return {static_cast<const char *>(data), length};
    }
    // Whether the client still waited for it.
    bool reply(std::string_view reply) {
        return detail::check(tombolo_reply(&raw_, reply.data(), reply.size())) != 0;
    }
};

class server : public detail::handle<tombolo_server, tombolo_server_close> {
public:
    server() = default;
    server(const segment &in, const std::string &name, const service &wanted = {}) {
        detail::check(tombolo_server_open(in.get(), name.c_str(), &wanted, &raw_));
    }

    // A call in hand; empty if none came in time.
    request serve(timeout time = forever) {
        request made;
        detail::in_time(tombolo_serve(raw_, time.ns(), made.out()));
        return made;
    }
};

class events : public detail::handle<tombolo_events, tombolo_events_close> {
public:
    explicit events(const segment &of) { detail::check(tombolo_events_open(of.get(), &raw_)); }

    std::optional<tombolo_event> next(timeout time = forever) {
        tombolo_event event{};
        event.struct_size = sizeof event;
        if (!detail::in_time(tombolo_events_next(raw_, &event, time.ns())))
            return std::nullopt;
        return event;
    }
};

} // namespace tombolo

#endif // TOMBOLO_HPP
