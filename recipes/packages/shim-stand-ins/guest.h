// Guests in wasmtime, for Go.
#include <stddef.h>
#include <stdint.h>

struct guest;

// Compiles a module, or says why it can't.
struct guest *guest_load(const uint8_t *bytes, size_t size, char **why);

// Runs a command to its end and gives its exit code; 137 for one that trapped.
int guest_run(struct guest *guest, size_t argc, char **argv, size_t envc, char **names, char **values,
              const char *output);

// Lets a module of slight say what it serves and where. Gives why it did not.
const char *slight_begin(struct guest *guest, char **address);

// Tells whether there is a handler for a path.
int slight_knows(const char *path);

// Lets a handler answer; gives the status, or 0.
int slight_handle(struct guest *guest, const char *path, uint8_t **body, size_t *length);
