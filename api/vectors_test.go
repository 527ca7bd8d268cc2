package api_test

import (
	"bytes"
	"crypto/hpke"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the test vectors")

const vectorsFile = "../docs/reveal-vectors.json"

// vector is one reveal. Bytes are in base64.
type vector struct {
	Description string           `json:"description"`
	Resource    api.Resource     `json:"resource"`
	PrivateKey  []byte           `json:"private_key"` // the seed
	PublicKey   []byte           `json:"public_key"`
	Info        []byte           `json:"info"`
	Answer      api.RevealAnswer `json:"answer"`
	Opened      []byte           `json:"opened"`
	Variables   []variable       `json:"variables"`
}

type variable struct {
	Name  string `json:"name"`
	Value []byte `json:"value"`
}

// TestVectors checks the test vectors of docs/api.md.
func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	text, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) < 3 {
		t.Fatalf("%d vectors", len(vectors))
	}
	for _, v := range vectors {
		t.Run(v.Description, func(t *testing.T) {
			private, err := hpke.MLKEM768X25519().NewPrivateKey(v.PrivateKey)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(private.PublicKey().Bytes(), v.PublicKey) {
				t.Error("another public key")
			}
			if !bytes.Equal(api.Info(v.Resource), v.Info) {
				t.Error("another info")
			}
			enc, ciphertext := v.Answer.Sealed[:api.EncapsulatedSize], v.Answer.Sealed[api.EncapsulatedSize:]
			recipient, err := hpke.NewRecipient(enc, private, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), v.Info)
			if err != nil {
				t.Fatal(err)
			}
			opened, err := recipient.Open([]byte(v.Answer.Etag), ciphertext)
			if err != nil || !bytes.Equal(opened, v.Opened) {
				t.Errorf("opens to %q, %v", opened, err)
			}
			s, err := api.OpenerWith(v.Resource, private).Open(v.Answer)
			if err != nil {
				t.Fatal(err)
			}
			var got []variable
			for _, b := range s.Bound {
				got = append(got, variable{b.ExposeAsEnv, []byte(b.Value.Reveal())})
			}
			if diff := cmp.Diff(got, v.Variables); diff != "" {
				t.Errorf("variables (-got +want):\n%s", diff)
			}
			if etag := api.Etag(s.Resource, api.Labels(s.Bound)); etag != s.Etag {
				t.Errorf("etag %s, want %s", s.Etag, etag)
			}
		})
	}
}

// An opened set must be for the requested resource and have the stated etag.
func TestOpenRefusesOtherSets(t *testing.T) {
	private, err := hpke.MLKEM768X25519().GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	good := snapshot(bound(1))
	otherResource, otherEtag := good, good
	otherResource.Resource.ID, otherEtag.Etag = "sb_2", "other"
	for name, encoded := range map[string][]byte{
		"another resource": encode(t, otherResource),
		"another etag":     encode(t, otherEtag),
		"no set":           []byte("{"),
		"nothing":          nil,
	} {
		enc, sender, err := hpke.NewSender(private.PublicKey(), hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), api.Info(sandbox))
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := sender.Seal([]byte(good.Etag), encoded)
		if err != nil {
			t.Fatal(err)
		}
		s, err := api.OpenerWith(sandbox, private).Open(api.RevealAnswer{Etag: good.Etag, Suite: api.SuiteXWing, Sealed: append(enc, sealed...)})
		if !errors.Is(err, api.ErrNotSet) || s.Bound != nil {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func writeVectors(t *testing.T) {
	odd := oddSet()
	odd = []api.Bound{odd[0], odd[2]}
	odd[0].SecretName = "empty"
	binary := bound(1)
	binary[0].Value = api.NewValue([]byte("\x00\xff\n{}"))
	var vectors []vector
	for _, v := range []struct {
		description string
		resource    api.Resource
		set         []api.Bound
	}{
		{"nothing is bound", sandbox, nil},
		{"an empty value, and a placeholder that expires", sandbox, odd},
		{"a computer, and a value that isn't text", api.Resource{Type: api.Computer, ID: "c_1"}, binary},
	} {
		private, err := hpke.MLKEM768X25519().GenerateKey()
		if err != nil {
			t.Fatal(err)
		}
		seed, err := private.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		public := private.PublicKey().Bytes()
		a := seal(t, v.resource, api.Recipient{Suite: api.SuiteXWing, PublicKey: public}, v.set)
		out := vector{
			Description: v.description, Resource: v.resource, PrivateKey: seed, PublicKey: public, Info: api.Info(v.resource), Answer: a,
			Opened: encode(t, api.Snapshot{Resource: v.resource, Etag: a.Etag, Bound: v.set}),
		}
		for _, b := range v.set {
			out.Variables = append(out.Variables, variable{b.ExposeAsEnv, []byte(b.Value.Reveal())})
		}
		vectors = append(vectors, out)
	}
	text, err := json.MarshalIndent(vectors, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(vectorsFile, append(text, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
}
