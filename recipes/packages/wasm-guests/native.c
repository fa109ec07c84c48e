// The ordinary program beside the guests: static, no WebAssembly.
#include <stdio.h>

int main(void) {
    puts("from native");
    return 4;
}
