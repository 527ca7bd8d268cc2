// Command app is what tests run in a container in the place of somebody's program. It shows what it was given
// and what it can reach, never a value: of these it prints a sum.
//
//	app show NAME...      its ids, and the sums of these variables
//	app exit CODE         ends
//	app die SIGNAL        ends by a signal, given as a number
//	app serve NAME        shows the variable's sum and stays; TERM ends it with code 3
//	app drain DURATION    stays; after TERM it takes that long to end with code 5
//	app deaf              stays, and ignores TERM
//	app orphans COUNT     leaves processes to process 1, and tells whether they were reaped
//	app keys              looks for a key in the environment and arguments of every process
//	app limits            what the kernel lets it do
//	app write PATH...     tries to make files
//	app file PATH NAME    a file's owner, mode and file system, and the sum of NAME=value in it
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
