package cli

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/pflag"
)

// versionCommand returns the command version.
func (a *App) versionCommand() *Command {
	var asJSON bool
	return &Command{
		Use:    "version [FLAG...]",
		Short:  "Print the version",
		Group:  a.Other,
		Unused: allFlags,
		Flags: func(f *pflag.FlagSet) {
			f.BoolVar(&asJSON, "json", false, "print a JSON object")
		},
		Run: func(context.Context, *Invocation) error {
			if asJSON {
				return PrintJSON(a.Out, map[string]string{"version": a.Version, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH})
			}
			_, err := fmt.Fprintf(a.Out, "%s %s %s/%s %s\n", a.Root.Use, a.Version, runtime.GOOS, runtime.GOARCH, runtime.Version())
			return err
		},
	}
}

// allFlags is the Unused function of a command that uses no flag of the root.
func allFlags(string) bool { return true }

// LinkedVersion returns the version that was set when linking, or if that is "unknown", the one that go build or go install
// has recorded: the module's version, or (devel) and the revision, with +dirty if files were changed.
func LinkedVersion(linked string) string {
	if info, ok := debug.ReadBuildInfo(); ok && linked == "unknown" {
		return recorded(info)
	}
	return linked
}

func recorded(info *debug.BuildInfo) string {
	version := info.Main.Version
	if version != "(devel)" && version != "" {
		return version
	}
	set := map[string]string{}
	for _, s := range info.Settings {
		set[s.Key] = s.Value
	}
	if set["vcs.revision"] == "" {
		return "(devel)"
	}
	version = "(devel) " + set["vcs.revision"]
	if set["vcs.modified"] == "true" {
		version += "+dirty"
	}
	return version
}
