package peer

import "testing"

func TestUnitOf(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"a service", "0::/system.slice/app.service\n", "app.service"},
		{"below one", "0::/system.slice/app.service/.control\n", "app.service"},
		{"an instance", "0::/system.slice/system-app.slice/app@1.service\n", "app@1.service"},
		{"a user's own", "0::/user.slice/user-1000.slice/user@1000.service/app.slice/app.service\n", "user@1000.service"},
		{"made by a process", "0::/system.slice/other.service/system.slice/app.service\n", "other.service"},
		{"version 1", "12:pids:/x\n1:name=systemd:/system.slice/app.service\n", "app.service"},
		{"both", "1:name=systemd:/system.slice/app.service\n0::/system.slice/other.service\n", "other.service"},
		{"both, with only version 1 in use", "1:name=systemd:/system.slice/app.service\n0::/\n", "app.service"},
		{"kept apart", "0::/system.slice/_cgroup.service\n", "cgroup.service"},
		{"a scope", "0::/init.scope\n", "init.scope"},
		{"outside of the namespace", "0::/../app.service\n", ".."},
		{"none", "0::/\n", ""},
		{"a slice", "0::/system.slice\n", ""},
		{"nothing", "", ""},
	} {
		if got := unitOf(tt.text); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
