/* Says with which argument it runs: what was denied must never say so. */
#include <unistd.h>

int main(int argc, char **argv)
{
	return argc == 2 && write(1, argv[1], 6) == 6 && write(1, "\n", 1) == 1 ? 0 : 1;
}
