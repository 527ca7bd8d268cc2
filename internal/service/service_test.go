package service

import (
	"regexp"
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/egress/rule"
)

// checked are forms of keys that clients, or programs that look for leaked keys, check.
var checked = map[string]string{
	"anthropic": `^sk-ant-api03-[\w-]{93}[\w-]{2}$`, "gemini": `^AIza[\w-]{35}$`, "groq": `^gsk_[A-Za-z0-9]{52}$`, "huggingface": `^hf_[A-Za-z]{34}$`,
	"openai": `^sk-[A-Za-z0-9]{32,}$`, "openrouter": `^sk-or-v1-[0-9a-f]{64}$`, "perplexity": `^pplx-[A-Za-z0-9]{48}$`, "replicate": `^r8_[A-Za-z0-9]{37}$`,
	"dockerhub": `^dckr_pat_[\w-]{27}$`, "github": `^ghp_[A-Za-z0-9]{36}$`, "gitlab": `^glpat-[\w-]{20,}$`,
	"aws": `^[A-Za-z0-9/+]{40}$`, "aws-id": `^AKIA[A-Z2-7]{12,124}$`, "cloudflare": `^[\w-]{40}$`,
	"datadog": `^[0-9a-f]{32}$`, "digitalocean": `^dop_v1_[0-9a-f]{64}$`, "hetzner": `^[A-Za-z0-9]{64}$`, "shopify": `^shpat_[0-9a-f]{32}$`,
	"stripe": `^sk_live_[A-Za-z0-9]{10,99}$`, "airtable": `^pat[A-Za-z0-9]{14}\.[0-9a-f]{64}$`, "mailgun": `^key-[0-9a-f]{32}$`,
	"sendgrid": `^SG\.[\w-]{22}\.[\w-]{43}$`, "slack": `^xoxb-[0-9]{10,13}-[0-9]{10,13}-[A-Za-z0-9]{24}$`,
	"slack-app": `^xapp-\d-[A-Z0-9]+-\d+-[a-z0-9]+$`, "telegram": `^[0-9]{8,10}:[\w-]{35}$`, "twilio": `^[0-9a-f]{32}$`,
	"linear": `^lin_api_[A-Za-z0-9]{40}$`, "notion": `^ntn_[A-Za-z0-9]{46}$`,
}

// Every service has a valid rule, and placeholders of a form that its clients accept.
func TestServices(t *testing.T) {
	for _, name := range Names() {
		r, ok := Rule(name)
		if !ok {
			t.Fatalf("%s is missing", name)
		}
		if _, err := rule.Compile([]api.EgressRule{r}); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		pattern, ok := checked[name]
		if !ok {
			continue
		}
		if r.Shape == nil {
			t.Errorf("%s has no shape", name)
			continue
		}
		letters, length := r.Shape.Random()
		for _, first := range []byte{letters[0], letters[len(letters)-1]} {
			text := []byte(r.Shape.Prefix)
			for i := range length {
				text = append(text, letters[i%len(letters)])
			}
			text[len(r.Shape.Prefix)] = first
			if !regexp.MustCompile(pattern).Match(text) {
				t.Errorf("%s: %s doesn't match %s", name, text, pattern)
			}
		}
	}
	for name := range checked {
		if _, ok := Rule(name); !ok {
			t.Errorf("there is no %s", name)
		}
	}
}

// A caller that changes a rule doesn't change the next one.
func TestRuleIsACopy(t *testing.T) {
	r, _ := Rule("github")
	r.Hosts[0], r.Slots[0], r.Shape.Prefix = "evil.example", "path", ""
	if again, _ := Rule("github"); again.Hosts[0] != "api.github.com" || again.Slots[0] != "authorization" || again.Shape.Prefix != "ghp_" {
		t.Errorf("%+v", again)
	}
	if _, ok := Rule("none"); ok {
		t.Error("there is a service of no name")
	}
}
