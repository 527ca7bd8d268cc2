package oauth

import "testing"

// The tokens of every preset have hosts.
func TestEveryPresetHasAnEgressRule(t *testing.T) {
	for _, name := range presetNames() {
		r := (&Provider{service: providerFile{Preset: name}.service()}).Egress()
		if r == nil || r.Validate() != nil || r.Shape != nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if r := (&Provider{service: providerFile{Preset: "gitlab", Issuer: "https://gitlab.example"}.service()}).Egress(); r != nil {
		t.Errorf("at another issuer: %+v", r)
	}
}
