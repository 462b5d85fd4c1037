#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| i2kit_fuzz::targets::answer(data));
