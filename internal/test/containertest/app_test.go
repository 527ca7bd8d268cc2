package containertest

import (
	"fmt"
	"os"
)

// runApp is the program of the image theirs, which TestMain runs in containers. It prints what it has access to, and checksums
// instead of values. It returns the exit code.
//
//	app show NAME...      prints its ids, and the checksums of these variables
//	app exit CODE         exits
//	app die SIGNAL        kills itself with a signal, given as a number
//	app serve NAME        prints the variable's checksum and waits; on TERM it exits with 3
//	app drain DURATION    waits; on TERM it exits with 5 after that time
//	app deaf              waits, and ignores TERM
//	app orphans COUNT     leaves processes to process 1, and prints whether they were reaped
//	app keys              searches the environment and arguments of every process for keys
//	app limits            prints its privileges
//	app write PATH...     tries to create files
//	app file PATH NAME    prints a file's owner, mode and file system, and the checksum of NAME=value in it
func runApp(args []string) int {
	if len(args) == 0 {
		args = []string{"show"}
	}
	command, known := map[string]func([]string) (int, error){
		"show": show, "keys": keys, "limits": limits, "write": write, "file": file,
		"exit": exit, "die": die, "serve": serve, "drain": drain, "deaf": deaf,
		"orphans": orphans, "leave": leave, "linger": linger,
	}[args[0]]
	err := fmt.Errorf("unknown command %q", args[0])
	code := 0
	if known {
		code, err = command(args[1:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "app:", err)
		return 99
	}
	return code
}
