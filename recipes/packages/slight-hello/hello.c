// A server for slight: `on-server-init` says which handlers there are, and slight calls one in a new instance for each
// request. What is passed lies in memory as the canonical ABI of wit-bindgen 0.2 has it, which slight speaks.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define IMPORT(name) __attribute__((import_module("http-server"), import_name(name)))
#define EXPORT(name) __attribute__((export_name(name)))

// A result: 0 and a handle, or 1 and an error.
struct handled {
    uint8_t is_error;
    uint32_t handle;
    uint32_t more[2];
};

IMPORT("router::new") void router_new(struct handled *router);
IMPORT("router::get")
void router_get(uint32_t router, const char *route, size_t route_length, const char *handler, size_t handler_length,
                struct handled *routed);
IMPORT("server::serve")
void server_serve(const char *address, size_t length, uint32_t router, struct handled *server);

EXPORT("canonical_abi_realloc") void *take(void *old, size_t old_size, size_t align, size_t size) {
    void *new = realloc(old, size);
    if (new == NULL && size != 0) abort();
    return new;
}

EXPORT("canonical_abi_free") void give_back(void *memory, size_t size, size_t align) {
    free(memory);
}

// A text that slight gives back when it has read it.
static char *copy(const char *text) {
    size_t size = strlen(text);
    return memcpy(take(NULL, 0, 1, size), text, size);
}

struct text {
    char *start;
    size_t length;
};

static struct text owned(const char *text) {
    return (struct text){copy(text), strlen(text)};
}

// expected<unit, string>
static struct {
    uint8_t is_error;
    struct text error;
} begun;

static void *failed(const char *why) {
    begun.is_error = 1;
    begun.error = owned(why);
    return &begun;
}

EXPORT("on-server-init") void *on_server_init(void) {
    static const char route[] = "/hello", handler[] = "handle_hello", address[] = "0.0.0.0:3000";
    struct handled router, routed, server;
    router_new(&router);
    if (router.is_error) return failed("no router");
    router_get(router.handle, route, sizeof route - 1, handler, sizeof handler - 1, &routed);
    if (routed.is_error) return failed("no route");
    server_serve(address, sizeof address - 1, routed.handle, &server);
    if (server.is_error) return failed("no server");
    return &begun;
}

// expected<response, error>
static struct {
    uint8_t is_error;
    struct {
        uint16_t status;
        struct {
            uint8_t is_there;
            struct {
                struct text *start;
                size_t count;
            } list;
        } headers;
        struct {
            uint8_t is_there;
            struct text text;
        } body;
    } response;
} answer;

EXPORT("handle-hello")
void *handle_hello(uint32_t method, const char *uri, size_t uri_length, void *headers, size_t header_count, void *params,
                   size_t param_count, uint32_t has_body, const char *body, size_t body_length) {
    struct text *header = take(NULL, 0, 4, 2 * sizeof *header);
    header[0] = owned("content-type");
    header[1] = owned("text/plain");
    answer.response.status = 200;
    answer.response.headers.is_there = 1;
    answer.response.headers.list.start = header;
    answer.response.headers.list.count = 1;
    answer.response.body.is_there = 1;
    answer.response.body.text = owned("hello from slight\n");
    return &answer;
}
