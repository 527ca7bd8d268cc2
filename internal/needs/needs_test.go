package needs

import "testing"

func TestFindReadsReasons(t *testing.T) {
	for _, n := range []Need{
		{Kind: "command", What: "systemd-nspawn"},
		{Kind: "npm", What: "node", Why: "22.1: older ones"},
		{Kind: "root", Why: "for another user's mount: operation not permitted"},
		{Kind: "system", Why: "memfd_secret"},
		{Kind: "option", What: "-short=false", Why: "a minute"},
	} {
		got, ok := Find("        case_test.go:12: " + n.reason() + "\n    and more\n")
		if !ok || got != n {
			t.Errorf("%q is read as %+v, %v", n, got, ok)
		}
	}
}

func TestFindReadsNothingElse(t *testing.T) {
	for _, text := range []string{"", "    a_test.go:1: it needs command of the sea\n", "    a_test.go:1: needs time\n"} {
		if got, ok := Find(text); ok {
			t.Errorf("%q is read as %+v", text, got)
		}
	}
}

func TestNPMEnvironLeavesAnEnvironmentAlone(t *testing.T) {
	if got := NPMEnviron([]string{"A=1"}, t.TempDir()); len(got) != 1 {
		t.Errorf("without packages it is %q", got)
	}
}
