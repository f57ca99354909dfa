// gcc: -O1
#include "canary.c"
