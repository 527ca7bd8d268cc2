package cli

import (
	"runtime/debug"
	"testing"
)

func TestLinkedVersion(t *testing.T) {
	vcs := func(revision, modified string) []debug.BuildSetting {
		return []debug.BuildSetting{{Key: "vcs", Value: "git"}, {Key: "vcs.revision", Value: revision}, {Key: "vcs.modified", Value: modified}}
	}
	for _, tt := range []struct {
		name string
		info debug.BuildInfo
		want string
	}{
		{"go install of a version", debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}}, "v1.2.3"},
		{"go build in a checkout", debug.BuildInfo{Main: debug.Module{Version: "(devel)"}, Settings: vcs("0123abc", "false")}, "(devel) 0123abc"},
		{"with changes", debug.BuildInfo{Main: debug.Module{Version: "(devel)"}, Settings: vcs("0123abc", "true")}, "(devel) 0123abc+dirty"},
		{"a version of the checkout", debug.BuildInfo{Main: debug.Module{Version: "v0.0.0-20260101000000-0123abc"}, Settings: vcs("0123abc", "false")}, "v0.0.0-20260101000000-0123abc"},
		{"without VCS", debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, "(devel)"},
		{"nothing", debug.BuildInfo{}, "(devel)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := recorded(&tt.info); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	if got := LinkedVersion("v9"); got != "v9" {
		t.Errorf("what was linked: got %q", got)
	}
}
