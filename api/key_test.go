package api_test

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
)

// The formats as regular expressions, to check the hand-written parser.
var (
	keyForm    = regexp.MustCompile(`\Amsk_[a-z]{1,8}_[A-Za-z0-9_-]{16,512}\z`)
	keyInText  = regexp.MustCompile(`msk_[a-z]{1,8}_[A-Za-z0-9_-]+`)
	resourceID = regexp.MustCompile(`\A[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}\z`)
)

func TestParseKey(t *testing.T) {
	random := strings.Repeat("a", 16)
	for _, tt := range []struct {
		name, text string
		want       bool
	}{
		{"resource key", "msk_r_" + random, true},
		{"tenant key", "msk_u_" + random, true},
		{"another purpose", "msk_purposes_" + random, true},
		{"white space around it", " \tmsk_r_" + random + "\r\n", true},
		{"a byte order mark", "\ufeffmsk_r_" + random + "\n", true},
		{"a no-break space", "\u00a0msk_r_" + random, true},
		{"longest", "msk_r_" + strings.Repeat("Z", 512), true},
		{"every kind of character", "msk_r_azAZ09_-azAZ09_-", true},
		{"empty", "", false},
		{"one character short", "msk_r_" + random[1:], false},
		{"one character long", "msk_r_" + strings.Repeat("Z", 513), false},
		{"no purpose", "msk__" + random, false},
		{"purpose too long", "msk_abcdefghi_" + random, false},
		{"purpose in capitals", "msk_R_" + random, false},
		{"another vendor's", "sk_live_" + random, false},
		{"a space inside", "msk_r_" + random + " x", false},
		{"two lines", "msk_r_" + random + "\nmsk_r_" + random, false},
		{"a NUL", "msk_r_" + random + "\x00", false},
		{"not ASCII", "msk_r_" + random + "é", false},
		{"quoted", `"msk_r_` + random + `"`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			key, err := api.ParseKey(tt.text)
			if got := err == nil; got != tt.want {
				t.Fatalf("accepted = %v, want %v", got, tt.want)
			}
			if err != nil {
				if !errors.Is(err, api.ErrMalformedKey) {
					t.Errorf("error is %v", err)
				}
				return
			}
			if got, want := key.Reveal(), strings.Trim(tt.text, " \t\r\n\u00a0\ufeff"); got != want {
				t.Errorf("key has %d bytes, want %d", len(got), len(want))
			}
		})
	}
}

func TestNewKey(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		key := api.NewKey(api.TenantKeyPrefix)
		text := key.Reveal()
		if _, err := api.ParseKey(text); err != nil {
			t.Fatal("a minted key doesn't parse")
		}
		// 32 possible characters, so 5 bits each.
		if bits := 5 * (len(text) - len(api.TenantKeyPrefix)); bits < 256 {
			t.Fatalf("%d random bits, want at least 256", bits)
		}
		if !key.ForTenant() || seen[text] {
			t.Fatal("not a tenant's key, or minted twice")
		}
		seen[text] = true
	}
	if api.NewKey(api.ResourceKeyPrefix).ForTenant() {
		t.Error("a resource key is accepted as a tenant key")
	}
}

func FuzzParseKey(f *testing.F) {
	for _, s := range []string{"", "msk_r_aaaaaaaaaaaaaaaa", " msk_u_AZaz09_-AZaz09_- ", "msk_abcdefghi_aaaaaaaaaaaaaaaa", "msk__aaaaaaaaaaaaaaaaaaa"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		key, err := api.ParseKey(s)
		if got, want := err == nil, keyForm.MatchString(strings.TrimSpace(s)); got != want {
			t.Fatalf("accepted = %v, want %v: %q", got, want, s)
		}
		if err != nil && len(s) > 8 && strings.Contains(err.Error(), s) {
			t.Fatalf("the error repeats %q", s)
		}
		if printed := fmt.Sprintf("%v %+v %#v %s %q %x", key, key, key, key, key, key); len(s) > 10 && strings.Contains(printed, s) {
			t.Fatalf("printing repeats %q", s)
		}
	})
}

func FuzzRedactKeys(f *testing.F) {
	for _, s := range []string{"", "no key", "msk_r_abc", "a msk_u_x_y-z, msk_r_q.", "msk_msk_r_abc", "msk_abcdefghi_x", "msk_r_", "msk_r_msk_r_x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, want := api.RedactKeys(s), keyInText.ReplaceAllString(s, "msk_"+api.Redacted); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}

func FuzzResourceID(f *testing.F) {
	for _, s := range []string{"", "sb_1", ".a", "a.b:c@d-e_f", strings.Repeat("a", 128), strings.Repeat("a", 129), "a/b", "é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		err := api.Resource{Type: api.Sandbox, ID: s}.Validate()
		if got, want := err == nil, resourceID.MatchString(s); got != want {
			t.Fatalf("accepted = %v, want %v: %q", got, want, s)
		}
	})
}

func TestParseResource(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       api.Resource
		ok         bool
	}{
		{"sandbox", "sandbox:sb_1", api.Resource{Type: "sandbox", ID: "sb_1"}, true},
		{"computer", "computer:c-1", api.Resource{Type: "computer", ID: "c-1"}, true},
		{"colon in the id", "sandbox:a:b", api.Resource{Type: "sandbox", ID: "a:b"}, true},
		{"no type", "sb_1", api.Resource{}, false},
		{"unknown type", "pod:p1", api.Resource{}, false},
		{"no id", "sandbox:", api.Resource{}, false},
		{"path in the id", "sandbox:../x", api.Resource{}, false},
		{"empty", "", api.Resource{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := api.ParseResource(tt.text)
			if (err == nil) != tt.ok {
				t.Fatalf("error %v, want ok %v", err, tt.ok)
			}
			if tt.ok && (got != tt.want || got.String() != tt.text) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
