/* What must not run: before anything else it leaves a mark in its working directory. */
#include <fcntl.h>
#include <unistd.h>

int main(void)
{
	return close(open("mark", O_CREAT | O_WRONLY, 0600));
}
