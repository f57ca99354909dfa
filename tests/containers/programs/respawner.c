// Processes that outrun who kills them one by one: each forks its successor and ends. argv[1]: how many at a time.
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int lines = argc > 1 ? atoi(argv[1]) : 8;
	int i;

	signal(SIGCHLD, SIG_IGN); /* nobody stays a zombie */
	for (i = 0; i < lines; i++) {
		if (fork() == 0) {
			for (;;) {
				if (fork() > 0)
					_exit(0);
			}
		}
	}
	for (;;)
		pause();
}
