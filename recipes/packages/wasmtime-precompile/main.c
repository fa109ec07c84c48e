// Compiles a WebAssembly module ahead of time: app.wasm to app.cwasm, for the wasmtime it is linked to.
//
// In: the module and the place of the result. Out: that file, which depends on the module and on the
// library only: it is made for the baseline of the architecture, never for this machine's processor.
#include <stdio.h>
#include <stdlib.h>
#include <wasm.h>
#include <wasmtime.h>

static void check(wasmtime_error_t *error, const char *what) {
    if (!error) return;
    wasm_byte_vec_t message;
    wasmtime_error_message(error, &message);
    fprintf(stderr, "%s: %.*s\n", what, (int)message.size, message.data);
    exit(1);
}

static void fail(const char *path) {
    perror(path);
    exit(1);
}

static wasm_byte_vec_t read_all(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) fail(path);
    long size = ftell(file);
    if (size < 0) fail(path);
    rewind(file);
    wasm_byte_vec_t bytes;
    wasm_byte_vec_new_uninitialized(&bytes, size);
    if (fread(bytes.data, 1, size, file) != (size_t)size) fail(path);
    fclose(file);
    return bytes;
}

int main(int argc, char **argv) {
    if (argc != 3) return fprintf(stderr, "usage: %s MODULE.wasm RESULT.cwasm\n", argv[0]), 2;
    wasm_config_t *config = wasm_config_new();
    // A named target has no more than its baseline, whatever the processor here can do.
    check(wasmtime_config_target_set(config, TARGET), TARGET);
    wasm_engine_t *engine = wasm_engine_new_with_config(config);
    wasm_byte_vec_t wasm = read_all(argv[1]);
    wasmtime_module_t *module;
    check(wasmtime_module_new(engine, (const uint8_t *)wasm.data, wasm.size, &module), argv[1]);
    wasm_byte_vec_t compiled;
    check(wasmtime_module_serialize(module, &compiled), argv[1]);
    FILE *out = fopen(argv[2], "wb");
    if (!out || fwrite(compiled.data, 1, compiled.size, out) != compiled.size || fclose(out)) fail(argv[2]);
    return 0;
}
