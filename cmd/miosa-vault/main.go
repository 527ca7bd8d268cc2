// Command miosa-vault keeps secrets, encrypted, and serves them to the sandboxes and computers they are
// bound to. docs/api.md describes its API.
package main

import (
	"context"
	"os"

	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/inherited"
)

// version is set by the build.
var version = "unknown"

func main() {
	inherited.Act()
	inherited.EndByFaults()
	version = cli.LinkedVersion(version)
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}
