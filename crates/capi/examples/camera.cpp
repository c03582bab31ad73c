// Frames in place: a camera writes each frame where its viewers read it, without a copy.
//
// c++ -std=c++17 -o camera camera.cpp $(pkg-config --cflags --libs tombolo)

#include <cstdint>
#include <iostream>
#include <thread>

#include "tombolo.hpp"

namespace {

struct frame {
    std::uint64_t number;
    std::uint8_t pixels[64 * 48];
};

// The same text, size and alignment are the same type in Rust, C and Python.
tombolo::channel frames() {
    return tombolo::channel::of<frame>("Frame{number:u64,pixels:u8[3072]}", 8).broadcast();
}

void view(const tombolo::segment &segment, tombolo::receiver viewer) {
    (void)segment;
    for (;;) {
        tombolo::delivery taken = viewer.take();
        auto seen = static_cast<const frame *>(taken.data());
        std::cout << "frame " << seen->number << ", first pixel " << int(seen->pixels[0]) << "\n";
        if (seen->number == 2)
            return;
    }
}

} // namespace

int main() try {
    auto segment = tombolo::segment::anonymous();
    tombolo::sender camera(segment, "frames", frames());
    tombolo::receiver viewer(segment, "frames", frames().reliable());
    std::thread viewing([&] { view(segment, std::move(viewer)); });
    for (std::uint64_t number = 0; number < 3; number++) {
        tombolo::grant place = camera.reserve(sizeof(frame));
        auto next = place.as<frame>();
        next->number = number;
        for (auto &pixel : next->pixels)
            pixel = static_cast<std::uint8_t>(number * 10);
        place.commit();
    }
    viewing.join();
} catch (const tombolo::error &error) {
    std::cerr << error.what() << "\n";
    return 1;
}
