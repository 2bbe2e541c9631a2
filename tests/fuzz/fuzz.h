/* fuzz.h - what every harness has: its entry point, declared. */
#ifndef HOTSEAT_TESTS_FUZZ_H
#define HOTSEAT_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
