#include "guest.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <wasi.h>
#include <wasmtime.h>

// What is used of libwasmtime, which a guest's host opens when it runs: the shim itself needs none.
#define CALLS(each) \
    each(wasi_config_inherit_stderr) each(wasi_config_inherit_stdout) each(wasi_config_new) \
    each(wasi_config_preopen_dir) each(wasi_config_set_argv) each(wasi_config_set_env) \
    each(wasi_config_set_stdout_file) each(wasm_byte_vec_delete) each(wasm_engine_new) \
    each(wasm_functype_delete) each(wasm_functype_new) each(wasm_valtype_new) each(wasm_valtype_vec_new) \
    each(wasm_valtype_vec_new_empty) each(wasmtime_caller_context) each(wasmtime_caller_export_get) \
    each(wasmtime_context_set_wasi) each(wasmtime_error_delete) each(wasmtime_error_exit_status) \
    each(wasmtime_error_message) each(wasmtime_func_call) each(wasmtime_instance_export_get) \
    each(wasmtime_linker_define_func) each(wasmtime_linker_define_wasi) each(wasmtime_linker_delete) \
    each(wasmtime_linker_instantiate) each(wasmtime_linker_new) each(wasmtime_memory_data) \
    each(wasmtime_memory_data_size) each(wasmtime_module_new) each(wasmtime_store_context) \
    each(wasmtime_store_delete) each(wasmtime_store_new) each(wasmtime_trap_new)

#define MEMBER(name) __typeof__(name) *name;
static struct {
    CALLS(MEMBER)
} w;

struct guest {
    wasm_engine_t *engine;
    wasmtime_module_t *module;
};

// An instance with what it lives in.
struct life {
    wasmtime_store_t *store;
    wasmtime_context_t *context;
    wasmtime_linker_t *linker;
    wasmtime_instance_t instance;
};

enum { TRAPPED = 137, ROUTES = 16 };

// What a module of slight asked for.
static struct {
    char *path, *handler;
} routes[ROUTES];
static size_t route_count;
static char *served_at;

static char *told(wasmtime_error_t *error) {
    wasm_name_t message;
    w.wasmtime_error_message(error, &message);
    char *text = strndup(message.data, message.size);
    w.wasm_byte_vec_delete(&message);
    w.wasmtime_error_delete(error);
    return text;
}

static char *open_library(void) {
    void *library = dlopen("libwasmtime.so", RTLD_NOW);
    if (library == NULL) return dlerror();
#define OPEN(name) if ((w.name = (__typeof__(name) *)dlsym(library, #name)) == NULL) return "libwasmtime.so lacks " #name;
    CALLS(OPEN)
    return NULL;
}

struct guest *guest_load(const uint8_t *bytes, size_t size, char **why) {
    if ((*why = open_library()) != NULL) return NULL;
    struct guest *guest = calloc(1, sizeof *guest);
    guest->engine = w.wasm_engine_new();
    wasmtime_error_t *error = w.wasmtime_module_new(guest->engine, bytes, size, &guest->module);
    if (error == NULL) return guest;
    *why = told(error);
    return NULL;
}

static wasmtime_memory_t memory_of(wasmtime_caller_t *caller) {
    wasmtime_extern_t memory = {0};
    w.wasmtime_caller_export_get(caller, "memory", 6, &memory);
    return memory.of.memory;
}

// Copies a text out of a guest's memory, or gives NULL where it does not lie in it.
static char *text(wasmtime_caller_t *caller, const wasmtime_val_t *at) {
    wasmtime_context_t *context = w.wasmtime_caller_context(caller);
    wasmtime_memory_t memory = memory_of(caller);
    uint64_t start = (uint32_t)at[0].of.i32, size = (uint32_t)at[1].of.i32;
    if (start + size > w.wasmtime_memory_data_size(context, &memory)) return NULL;
    return strndup((char *)w.wasmtime_memory_data(context, &memory) + start, size);
}

// Gives a guest a handle, as `expected<handle, error>`.
static wasm_trap_t *give(wasmtime_caller_t *caller, int32_t at, uint32_t handle) {
    wasmtime_context_t *context = w.wasmtime_caller_context(caller);
    wasmtime_memory_t memory = memory_of(caller);
    if ((uint64_t)(uint32_t)at + 8 > w.wasmtime_memory_data_size(context, &memory)) return w.wasmtime_trap_new("no place", 8);
    uint8_t *place = w.wasmtime_memory_data(context, &memory) + (uint32_t)at;
    place[0] = 0;
    memcpy(place + 4, &handle, sizeof handle);
    return NULL;
}

static wasm_trap_t *router_new(void *none, wasmtime_caller_t *caller, const wasmtime_val_t *args, size_t count,
                               wasmtime_val_t *results, size_t result_count) {
    return give(caller, args[0].of.i32, 1);
}

static wasm_trap_t *router_get(void *none, wasmtime_caller_t *caller, const wasmtime_val_t *args, size_t count,
                               wasmtime_val_t *results, size_t result_count) {
    char *path = text(caller, &args[1]), *handler = text(caller, &args[3]);
    if (path == NULL || handler == NULL || route_count == ROUTES) return w.wasmtime_trap_new("no route", 8);
    for (char *c = handler; *c != '\0'; c++) *c = *c == '_' ? '-' : *c;
    routes[route_count].path = path;
    routes[route_count++].handler = handler;
    return give(caller, args[5].of.i32, 1);
}

static wasm_trap_t *server_serve(void *none, wasmtime_caller_t *caller, const wasmtime_val_t *args, size_t count,
                                 wasmtime_val_t *results, size_t result_count) {
    served_at = text(caller, &args[0]);
    return give(caller, args[3].of.i32, 2);
}

static void define(wasmtime_linker_t *linker, const char *name, size_t params, wasmtime_func_callback_t call) {
    wasm_valtype_t *types[8];
    for (size_t at = 0; at < params; at++) types[at] = w.wasm_valtype_new(WASM_I32);
    wasm_valtype_vec_t in, out;
    w.wasm_valtype_vec_new(&in, params, types);
    w.wasm_valtype_vec_new_empty(&out);
    wasm_functype_t *type = w.wasm_functype_new(&in, &out);
    w.wasmtime_linker_define_func(linker, "http-server", 11, name, strlen(name), type, call, NULL, NULL);
    w.wasm_functype_delete(type);
}

static wasmtime_error_t *begin(struct guest *guest, wasi_config_t *wasi, struct life *life, wasm_trap_t **trap) {
    life->store = w.wasmtime_store_new(guest->engine, NULL, NULL);
    life->context = w.wasmtime_store_context(life->store);
    life->linker = w.wasmtime_linker_new(guest->engine);
    define(life->linker, "router::new", 1, router_new);
    define(life->linker, "router::get", 6, router_get);
    define(life->linker, "server::serve", 4, server_serve);
    wasmtime_error_t *error = w.wasmtime_linker_define_wasi(life->linker);
    if (error == NULL) error = w.wasmtime_context_set_wasi(life->context, wasi);
    if (error != NULL) return error;
    return w.wasmtime_linker_instantiate(life->linker, life->context, guest->module, &life->instance, trap);
}

static void end(struct life *life) {
    w.wasmtime_linker_delete(life->linker);
    w.wasmtime_store_delete(life->store);
}

static int find(struct life *life, const char *name, wasmtime_extern_t *found) {
    return w.wasmtime_instance_export_get(life->context, &life->instance, name, strlen(name), found);
}

int guest_run(struct guest *guest, size_t argc, char **argv, size_t envc, char **names, char **values,
              const char *output) {
    wasi_config_t *wasi = w.wasi_config_new();
    w.wasi_config_set_argv(wasi, argc, (const char **)argv);
    w.wasi_config_set_env(wasi, envc, (const char **)names, (const char **)values);
    w.wasi_config_set_stdout_file(wasi, output);
    w.wasi_config_inherit_stderr(wasi);
    w.wasi_config_preopen_dir(wasi, "/", "/");
    struct life life;
    wasm_trap_t *trap = NULL;
    wasmtime_extern_t start;
    wasmtime_error_t *error = begin(guest, wasi, &life, &trap);
    int status = 0;
    if (error == NULL && trap == NULL && find(&life, "_start", &start))
        error = w.wasmtime_func_call(life.context, &start.of.func, NULL, 0, NULL, 0, &trap);
    if (trap != NULL) status = TRAPPED;
    if (error != NULL && !w.wasmtime_error_exit_status(error, &status)) status = TRAPPED;
    end(&life);
    return status;
}

static wasi_config_t *quiet(void) {
    wasi_config_t *wasi = w.wasi_config_new();
    w.wasi_config_inherit_stdout(wasi);
    w.wasi_config_inherit_stderr(wasi);
    return wasi;
}

const char *slight_begin(struct guest *guest, char **address) {
    struct life life;
    wasm_trap_t *trap = NULL;
    wasmtime_extern_t init;
    wasmtime_error_t *error = begin(guest, quiet(), &life, &trap);
    if (error != NULL) return told(error);
    if (trap != NULL || !find(&life, "on-server-init", &init)) return "there is none";
    wasmtime_val_t result;
    error = w.wasmtime_func_call(life.context, &init.of.func, NULL, 0, &result, 1, &trap);
    if (error != NULL) return told(error);
    if (trap != NULL || served_at == NULL) return "it served nothing";
    end(&life);
    *address = served_at;
    return NULL;
}

static const char *handler_of(const char *path) {
    for (size_t at = 0; at < route_count; at++)
        if (strcmp(routes[at].path, path) == 0) return routes[at].handler;
    return NULL;
}

int slight_knows(const char *path) {
    return handler_of(path) != NULL;
}

int slight_handle(struct guest *guest, const char *path, uint8_t **body, size_t *length) {
    enum { PARAMS = 10 };
    struct life life;
    wasm_trap_t *trap = NULL;
    wasmtime_extern_t handler, memory, realloc;
    wasmtime_error_t *error = begin(guest, quiet(), &life, &trap);
    if (error != NULL || trap != NULL) return 0;
    int status = 0;
    if (!find(&life, handler_of(path), &handler) || !find(&life, "memory", &memory)
        || !find(&life, "canonical_abi_realloc", &realloc))
        goto done;
    // The request: a GET of the path, without headers, parameters and body.
    wasmtime_val_t ask[4] = {0}, place;
    for (int at = 0; at < 4; at++) ask[at].kind = WASMTIME_I32;
    ask[2].of.i32 = 1;
    ask[3].of.i32 = strlen(path);
    if (w.wasmtime_func_call(life.context, &realloc.of.func, ask, 4, &place, 1, &trap) != NULL || trap != NULL) goto done;
    memcpy(w.wasmtime_memory_data(life.context, &memory.of.memory) + (uint32_t)place.of.i32, path, strlen(path));
    wasmtime_val_t args[PARAMS] = {0}, result;
    for (int at = 0; at < PARAMS; at++) args[at].kind = WASMTIME_I32;
    args[1] = place;
    args[2].of.i32 = strlen(path);
    if (w.wasmtime_func_call(life.context, &handler.of.func, args, PARAMS, &result, 1, &trap) != NULL || trap != NULL)
        goto done;
    // The answer: `expected<response, error>`.
    uint8_t *data = w.wasmtime_memory_data(life.context, &memory.of.memory);
    uint64_t size = w.wasmtime_memory_data_size(life.context, &memory.of.memory), at = (uint32_t)result.of.i32;
    if (at + 32 > size || data[at] != 0) goto done;
    uint16_t code;
    uint32_t text[2] = {0, 0};
    memcpy(&code, data + at + 4, sizeof code);
    if (data[at + 20] != 0) memcpy(text, data + at + 24, sizeof text);
    if ((uint64_t)text[0] + text[1] > size) goto done;
    *body = malloc(text[1] + 1);
    memcpy(*body, data + text[0], text[1]);
    *length = text[1];
    status = code;
done:
    end(&life);
    return status;
}
