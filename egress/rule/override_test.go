package rule_test

import (
	"net/http"
	"testing"

	"github.com/Miosa-osa/miosa-env/egress/rule"
)

func TestOverride(t *testing.T) {
	for name, want := range map[string]bool{
		"X-Http-Method-Override": true, "X_HTTP_METHOD_OVERRIDE": true, "x-http-method": true, "X-Method-Override": true, "X-Original-Url": true,
		"X-Rewrite_Url": true, "X-Original": false, "Method-Override": false, "X": false, "": false,
	} {
		got := rule.Override(http.Header{"Accept": {"a"}, name: {"b"}})
		if (got != "") != want || want && got != name {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestOverridesMethod(t *testing.T) {
	for query, want := range map[string]bool{
		"_method=PUT": true, "a=b&_method=PUT": true, "a;_method=PUT": true, "_method": true, "%5fMETHOD=PUT": true, ".method=PUT": true,
		"+_method=PUT": true, "%20.method=PUT": true, "_method%00a=PUT": true, "_method%00%zz=PUT": true, "%5Fmethod%00%=PUT": true,
		"_method[]=PUT": true, "_method%5B0]=PUT": true,
		"": false, "&": false, "method=PUT": false, "a=_method": false, "_methods=PUT": false, "a_method=PUT": false, "%zz=_method": false,
		"_method%zz=PUT": false, "%00_method=PUT": false, "[_method=PUT": false,
	} {
		if rule.OverridesMethod(query) != want {
			t.Errorf("%q: %v", query, !want)
		}
	}
}
