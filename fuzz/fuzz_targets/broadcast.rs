#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tombolo_fuzz::broadcast(data));
