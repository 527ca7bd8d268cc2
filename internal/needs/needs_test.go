package needs

import "testing"

func TestFindReadsWhatStringWrites(t *testing.T) {
	for _, n := range []Need{
		{Kind: KindCommand, What: "systemd-nspawn"},
		{Kind: KindNPM, What: "node", Why: "22.1: older ones"},
		{Kind: KindRoot, Why: "for another user's mount: operation not permitted"},
		{Kind: KindSystem, Why: "memfd_secret"},
		{Kind: KindOption, What: "-short=false", Why: "a minute"},
	} {
		got, ok := Find("        case_test.go:12: " + n.String() + "\n    and more\n")
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
