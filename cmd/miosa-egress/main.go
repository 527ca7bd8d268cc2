// Command miosa-egress is the egress broker: the requests of sandboxes go through it, and it replaces placeholders in them by the
// values of secrets. docs/egress.md describes it.
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
