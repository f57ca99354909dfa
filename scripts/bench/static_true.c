/* The program that the spawn loops run: nothing, statically linked. */
int main(void)
{
	return 0;
}
