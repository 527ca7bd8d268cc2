// Package buildinfo says which version a program is of.
package buildinfo

import "runtime/debug"

// Unknown is the version of a program in which none was set when linking.
const Unknown = "unknown"

// Version is the version set when linking, if there is one. Else it is what go build or go install has
// recorded: the module's version, or (devel) and the revision, with +dirty if files were changed.
func Version(linked string) string {
	if linked != Unknown {
		return linked
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return linked
	}
	return recorded(info)
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
