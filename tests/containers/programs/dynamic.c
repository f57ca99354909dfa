// gcc: -nostdlib -fPIE -pie
// A program that the dynamic loader can run without any library; exits with 7.
void _start(void)
{
	__asm__ volatile("syscall" : : "a"(231), "D"(7));
}
