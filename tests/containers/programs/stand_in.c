// Stands for a program that is not at hand: run under its name, with its arguments, it does nothing and succeeds.
int main(void)
{
	return 0;
}
