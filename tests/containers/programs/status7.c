// A program that does nothing and exits with 7, so that a parent knows that it was this one that ran.
int main(void)
{
	return 7;
}
