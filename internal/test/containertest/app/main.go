// Command app is the program that tests run in containers. It prints what it has access to, and checksums instead of values.
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
package main

import (
	"fmt"
	"os"
)

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "app:", err)
		code = 99
	}
	os.Exit(code)
}

func run(args []string) (int, error) {
	if len(args) == 0 {
		args = []string{"show"}
	}
	command, known := commands[args[0]]
	if !known {
		return 0, fmt.Errorf("unknown command %q", args[0])
	}
	return command(args[1:])
}

var commands = map[string]func([]string) (int, error){
	"show": show, "keys": keys, "limits": limits, "write": write, "file": file,
	"exit": exit, "die": die, "serve": serve, "drain": drain, "deaf": deaf,
	"orphans": orphans, "leave": leave, "linger": linger,
}
