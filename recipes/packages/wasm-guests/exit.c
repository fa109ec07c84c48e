// Calls `exit` with the number it is given.
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    puts("before exit");
    exit(argc > 1 ? atoi(argv[1]) : 0);
}
