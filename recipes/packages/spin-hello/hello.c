// A Spin component for the `wagi` executor, which is CGI: the answer's headers, an empty line, its body.
#include <stdio.h>

int main(void) {
    puts("content-type: text/plain\n\nhello from spin");
}
