// hostile HOW FILE|FOLDER [PART PART]: run FILE with arguments, or open a file in FOLDER with a name, that break what shows them carelessly.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINES "one\ntwo\r\n{\"event\":{\"kind\":\"alert\"}}"
#define ESCAPES "\033[2J\033]0;owned\007\233\0331m\302\233"
#define INVALID "\377\376\300\200\355\240\200caf\351"
#define BIDI "\342\200\256txt.exe\342\200\250"

static void run(const char *file, char *first, char *second, char *third)
{
	char *args[] = { (char *)"true", first, second, third, NULL };

	execv(file, args);
	perror(file);
	exit(3);
}

static char *repeat(char letter, size_t count)
{
	char *text = malloc(count + 1);

	memset(text, letter, count);
	text[count] = 0;
	return text;
}

// The word that a rule looks for comes in two parts: our own command line must not hold it.
static char *join(char *const parts[])
{
	char *word = malloc(256);

	if (!parts[0] || !parts[1])
		return (char *)"the end";
	snprintf(word, 256, "%s-%s", parts[0], parts[1]);
	return word;
}

static void open_named(const char *folder, const char *name)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	if (open(path, O_WRONLY | O_CREAT, 0600) < 0)
		perror("open");
}

int main(int argc, char **argv)
{
	const char *how = argc > 2 ? argv[1] : "";

	if (strcmp(how, "lines") == 0)
		run(argv[2], LINES, NULL, NULL);
	if (strcmp(how, "escapes") == 0)
		run(argv[2], ESCAPES, NULL, NULL);
	if (strcmp(how, "invalid") == 0)
		run(argv[2], INVALID, NULL, NULL);
	if (strcmp(how, "bidi") == 0)
		run(argv[2], BIDI, NULL, NULL);
	if (strcmp(how, "long") == 0) // as long as one argument may be: MAX_ARG_STRLEN with its end
		run(argv[2], repeat('A', 128 * 1024 - 1), join(argv + 3), NULL);
	if (strcmp(how, "padded") == 0)
		run(argv[2], repeat(' ', 5000), join(argv + 3), NULL);
	if (strcmp(how, "surrounded") == 0)
		run(argv[2], repeat(' ', 5000), join(argv + 3), repeat(' ', 5000));
	if (strcmp(how, "empty") == 0)
		run(argv[2], "", "", NULL);
	if (strcmp(how, "files") == 0) {
		open_named(argv[2], LINES);
		open_named(argv[2], ESCAPES);
		open_named(argv[2], INVALID);
		open_named(argv[2], BIDI);
		open_named(argv[2], repeat('n', 255));
		return 0;
	}
	fprintf(stderr, "usage: hostile HOW FILE|FOLDER [PART PART]\n");
	return 2;
}
