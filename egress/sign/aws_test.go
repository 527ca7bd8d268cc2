package sign

import (
	"bytes"
	"context"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/smithy-go/aws-http-auth/credentials"
	"github.com/aws/smithy-go/aws-http-auth/sigv4a"
)

const (
	suiteSecret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	suiteHost   = "example.amazonaws.com"
)

func newRequest(t testing.TB, method, url, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// verify reports whether a request was signed with a key.
func verify(s *AWS, r *http.Request, body, key []byte) bool {
	return s.FindKey(r, body, [][]byte{[]byte("another key"), key}) == 1
}

// suiteRequest returns a request of the suite, with its date and the signature of the given headers.
func suiteRequest(t testing.TB, method, target, body, signed, signature string, headers ...string) *http.Request {
	t.Helper()
	r := newRequest(t, method, "https://"+suiteHost+target, body)
	r.Header.Set("X-Amz-Date", "20150830T123600Z")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	credential, algorithm := "AKIDEXAMPLE/20150830/us-east-1/service/aws4_request", "AWS4-HMAC-SHA256"
	if strings.Contains(signed, "region-set") {
		credential, algorithm = "AKIDEXAMPLE/20150830/service/aws4_request", "AWS4-ECDSA-P256-SHA256"
	}
	if signed != "" {
		r.Header.Set("Authorization", algorithm+" Credential="+credential+", SignedHeaders="+signed+", Signature="+signature)
	}
	return r
}

// The signatures of AWS's test suite are recognized, and made again. Source: aws-c-auth, tests/aws-signing-test-suite.
func TestAWSSuite(t *testing.T) {
	const query = "/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20150830%2Fus-east-1%2Fservice%2Faws4_request&X-Amz-Date=20150830T123600Z&X-Amz-SignedHeaders=host&X-Amz-Expires=3600&X-Amz-Signature="
	const queryA = "/?X-Amz-Algorithm=AWS4-ECDSA-P256-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20150830%2Fservice%2Faws4_request&X-Amz-Date=20150830T123600Z&X-Amz-SignedHeaders=host&X-Amz-Expires=3600&X-Amz-Region-Set=us-east-1&X-Amz-Signature="
	for _, tt := range []struct {
		name, method, target, body, signed, signature string
		headers                                       []string
	}{
		{name: "get-vanilla-utf8-query", target: "/?\u1234=bar", signed: "host;x-amz-date", signature: "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"},
		{name: "get-vanilla-with-session-token", target: "/", signed: "host;x-amz-date;x-amz-security-token", signature: "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8", headers: []string{"X-Amz-Security-Token", "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267"}},
		{name: "get-header-value-trim", target: "/", signed: "host;my-header1;my-header2;x-amz-date", signature: "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736", headers: []string{"My-Header1", " value1", "My-Header2", ` "a   b   c"`}},
		{name: "get-header-value-order", target: "/", signed: "host;my-header1;x-amz-date", signature: "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01", headers: []string{"My-Header1", "value4", "My-Header1", "value1", "My-Header1", "value3", "My-Header1", "value2"}},
		{name: "get-slash-pointless-dot-normalized", target: "/./example", signed: "host;x-amz-date", signature: "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5"},
		{name: "get-utf8", target: "/\u1234", signed: "host;x-amz-date", signature: "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"},
		{name: "get-vanilla-query-order-encoded", target: "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1", signed: "host;x-amz-date", signature: "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac"},
		{name: "get-space-normalized", target: "/example space/", signed: "host;x-amz-date", signature: "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741"},
		{name: "get-unreserved", target: "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", signed: "host;x-amz-date", signature: "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"},
		{name: "post-x-www-form-urlencoded", method: "POST", target: "/", body: "Param1=value1", signed: "content-length;content-type;host;x-amz-content-sha256;x-amz-date", signature: "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b", headers: []string{"Content-Type", "application/x-www-form-urlencoded", "X-Amz-Content-Sha256", "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e"}},
		{name: "get-vanilla-query, presigned", target: query + "e93c787ed7f371d5c6b165c1b38ede9550f4dce4144713e844b25b7192d3865d"},
		{name: "v4a get-vanilla", target: "/", signed: "host;x-amz-date;x-amz-region-set", signature: "3046022100fddaaf816a31e30d04973875b13bc27b98da10907a3a1872fd5819a221334abc022100de2ee81d83b54f31efc82834de07e6cd4d5c6f25bfa08e0f29a15bb0977c343e", headers: []string{"X-Amz-Region-Set", "us-east-1"}},
		{name: "v4a get-vanilla, presigned", target: queryA + "3045022100a28466db6c76223d5aa6ed436a8451b30e21ba0a076e7f2f943dd1f3d2816249022049e4b3746929cd2a2cb7b7984dbe0f5d40a300e7d9a7a7f1307c196b6f96b61a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			request := func() *http.Request {
				return suiteRequest(t, tt.method, tt.target, tt.body, tt.signed, tt.signature, tt.headers...)
			}
			r := request()
			s := ParseAWS(r)
			if s == nil || s.ID() != "AKIDEXAMPLE" {
				t.Fatalf("parsed as %+v", s)
			}
			if !verify(s, r, []byte(tt.body), []byte(suiteSecret)) {
				t.Fatal("the signature isn't that of the secret")
			}
			if verify(s, r, []byte(tt.body), []byte(suiteSecret+"x")) {
				t.Fatal("the signature is that of another secret too")
			}
			if !s.Sign(r, nil, []byte("another")) {
				t.Fatal("not signed")
			}
			again := ParseAWS(r)
			if verify(again, r, []byte(tt.body), []byte(suiteSecret)) || !verify(again, r, []byte(tt.body), []byte("another")) {
				t.Error("the new signature isn't that of the new key")
			}
			if !again.Sign(r, nil, []byte(suiteSecret)) {
				t.Fatal("not signed again")
			}
			if first := request(); s.algorithm == v4 && (r.URL.String() != first.URL.String() || r.Header.Get("Authorization") != first.Header.Get("Authorization")) {
				t.Errorf("signed again, the request is another one:\n%s\n%v", r.URL, r.Header)
			}
		})
	}
}

// What aws-sdk-go-v2 signs with one key is recognized, and signed with another key it is what the SDK signs with that.
func TestAWSAsTheSDK(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for _, tt := range []struct {
		name, method, url, hash, service string
		headers                          []string
		presign                          bool
	}{
		{name: "no body", method: "GET", url: "https://ec2.us-east-1.amazonaws.com/?Action=DescribeRegions&Version=2016-11-15", hash: empty, service: "ec2"},
		{name: "object of S3", method: "GET", url: "https://b.s3.amazonaws.com/a%20b/%C3%BC+c/d%2Fe", hash: empty, service: "s3", headers: []string{"X-Amz-Content-Sha256", empty, "Range", "bytes=0-9"}},
		{name: "unsigned payload", method: "PUT", url: "https://b.s3.amazonaws.com/key", hash: unsignedPayload, service: "s3", headers: []string{"X-Amz-Content-Sha256", unsignedPayload, "Content-Type", "text/plain"}},
		{name: "encoded path of another service", method: "POST", url: "https://lambda.us-east-1.amazonaws.com/functions/arn%3Aaws%3Alambda/invocations?a=b+c&d=%2B", hash: empty, service: "lambda", headers: []string{"X-Amz-Target", "a  b", "User-Agent", "sdk"}},
		{name: "port", method: "GET", url: "https://localhost:4566/x", hash: empty, service: "sqs"},
		{name: "default port", method: "GET", url: "https://localhost:443/x", hash: empty, service: "sqs"},
		{name: "presigned", method: "GET", url: "https://b.s3.amazonaws.com/a%20b?x=1&X-Amz-Expires=60", hash: unsignedPayload, service: "s3", presign: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			signed := func(id, secret, token string) *http.Request {
				r := newRequest(t, tt.method, tt.url, "")
				for i := 0; i < len(tt.headers); i += 2 {
					r.Header.Set(tt.headers[i], tt.headers[i+1])
				}
				signer := sdk.NewSigner(func(o *sdk.SignerOptions) { o.DisableURIPathEscaping = tt.service == "s3" })
				c := aws.Credentials{AccessKeyID: id, SecretAccessKey: secret, SessionToken: token}
				if tt.presign {
					url, _, err := signer.PresignHTTP(t.Context(), c, r, tt.hash, tt.service, "us-east-1", now)
					if err != nil {
						t.Fatal(err)
					}
					return newRequest(t, tt.method, url, "")
				}
				if err := signer.SignHTTP(t.Context(), c, r, tt.hash, tt.service, "us-east-1", now); err != nil {
					t.Fatal(err)
				}
				return r
			}
			r, want := signed("placeholder/id", "placeholder-key", "placeholder-token"), signed("AKIAREAL", "real/key", "real//token==")
			s := ParseAWS(r)
			if s == nil || s.ID() != "placeholder/id" || s.ChunkSigned() {
				t.Fatalf("parsed as %+v", s)
			}
			if verify(s, r, nil, []byte("real/key")) || !verify(s, r, nil, []byte("placeholder-key")) {
				t.Fatal("the signature isn't recognized")
			}
			if tt.presign {
				r.URL.RawQuery = strings.NewReplacer("placeholder%2Fid", "AKIAREAL", "placeholder-token", "real%2F%2Ftoken%3D%3D").Replace(r.URL.RawQuery)
			} else {
				r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "placeholder/id", "AKIAREAL", 1))
				r.Header.Set("X-Amz-Security-Token", "real//token==")
			}
			if !s.Sign(r, nil, []byte("real/key")) {
				t.Fatal("not signed")
			}
			if got, want := r.URL.String(), want.URL.String(); got != want {
				t.Errorf("URL:\ngot  %s\nwant %s", got, want)
			}
			if got, want := r.Header.Get("Authorization"), want.Header.Get("Authorization"); got != want {
				t.Errorf("Authorization:\ngot  %s\nwant %s", got, want)
			}
		})
	}
}

// A signature of version 4a by another implementation is recognized, for many keys: their derivation may need several
// attempts.
func TestAWS4AAsSmithy(t *testing.T) {
	for _, secret := range []string{suiteSecret, "", "k", strings.Repeat("long", 100)} {
		r := newRequest(t, http.MethodGet, "https://b.s3-global.example.com/a%20b?x=y", "")
		err := sigv4a.New().SignRequest(&sigv4a.SignRequestInput{
			Request: r, PayloadHash: []byte(unsignedPayload), Service: "s3", RegionSet: []string{"*"}, Time: time.Unix(1.8e9, 0),
			Credentials: credentials.Credentials{AccessKeyID: "AKID", SecretAccessKey: secret, SessionToken: "token"},
		})
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Amz-Content-Sha256", unsignedPayload)
		s := ParseAWS(r)
		if s == nil || verify(s, r, nil, []byte(secret+"x")) || !verify(s, r, nil, []byte(secret)) {
			t.Fatalf("a key of %d bytes: %+v", len(secret), s)
		}
		if !s.Sign(r, nil, []byte("other")) || !verify(ParseAWS(r), r, nil, []byte("other")) {
			t.Errorf("a key of %d bytes: not signed with another", len(secret))
		}
	}
}

func TestAWSBody(t *testing.T) {
	sign := func(body string, headers ...string) *http.Request {
		r := newRequest(t, http.MethodPost, "https://dynamodb.us-east-1.amazonaws.com/", body)
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		err := sdk.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: "ID", SecretAccessKey: "old"}, r, hashHex([]byte(body)), "dynamodb", "us-east-1", time.Unix(1.8e9, 0))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := sign("{}")
	s := ParseAWS(r)
	if !s.NeedsBody() || verify(s, r, []byte("{ }"), []byte("old")) || !verify(s, r, []byte("{}"), []byte("old")) {
		t.Error("the hash of the body isn't part of the signature")
	}
	stated := sign("{}", "X-Amz-Content-Sha256", hashHex([]byte("{}")))
	s = ParseAWS(stated)
	if s.NeedsBody() || !verify(s, stated, nil, []byte("old")) {
		t.Error("a stated hash isn't used")
	}
	if !s.Sign(stated, []byte("new"), []byte("new")) || stated.Header.Get("X-Amz-Content-Sha256") != hashHex([]byte("new")) || !verify(ParseAWS(stated), stated, nil, []byte("new")) {
		t.Error("a new body's hash isn't stated and signed")
	}
	for _, tt := range []struct {
		payload string
		want    bool
	}{
		{"STREAMING-AWS4-HMAC-SHA256-PAYLOAD", true}, {"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", true}, {"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", true},
		{"STREAMING-UNSIGNED-PAYLOAD-TRAILER", false}, {unsignedPayload, false},
	} {
		r := sign("", "X-Amz-Content-Sha256", tt.payload)
		if s := ParseAWS(r); s == nil || s.NeedsBody() || s.ChunkSigned() != tt.want {
			t.Errorf("%s: %+v", tt.payload, s)
		}
	}
}

func TestAttack_MalformedAWSSignatures(t *testing.T) {
	good := suiteRequest(t, "GET", "/", "", "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31").Header.Get("Authorization")
	for _, tt := range []struct {
		name, authorization string
	}{
		{"empty", ""}, {"only the algorithm", "AWS4-HMAC-SHA256"}, {"unknown algorithm", strings.Replace(good, "SHA256", "SHA512", 1)},
		{"no signature", strings.Replace(good, "Signature", "Sig", 1)}, {"signature twice", good + ", Signature=00"}, {"no hex", good + "zz"},
		{"empty signature", good[:strings.LastIndex(good, "=")+1]}, {"short credential", strings.Replace(good, "/us-east-1/service", "", 1)},
		{"no id", strings.Replace(good, "AKIDEXAMPLE/", "", 1)}, {"headers in upper case", strings.Replace(good, "host;", "Host;", 1)},
		{"no headers", strings.Replace(good, "host;x-amz-date", "", 1)}, {"its own header", strings.Replace(good, "=host;", "=authorization;host;", 1)}, {"other end", strings.Replace(good, "aws4_request", "aws5_request", 1)},
	} {
		r := newRequest(t, http.MethodGet, "https://"+suiteHost+"/", "")
		r.Header.Set("X-Amz-Date", "20150830T123600Z")
		r.Header.Set("Authorization", tt.authorization)
		if s := ParseAWS(r); s != nil {
			t.Errorf("%s: %+v", tt.name, s)
		}
	}
	r := newRequest(t, http.MethodGet, "https://"+suiteHost+"/", "")
	r.Header["Authorization"] = []string{good, good}
	r.Header.Set("X-Amz-Date", "20150830T123600Z")
	if s := ParseAWS(r); s != nil {
		t.Errorf("two headers: %+v", s)
	}
}

func FuzzAWS(f *testing.F) {
	f.Add("GET", "/", "", "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31", "")
	f.Add("POST", "/a/../b", "X-Amz-Signature=00&X-Amz-Credential=a%2Fb", "", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
	f.Add("GET", "/%", "X-Amz-Algorithm=AWS4-ECDSA-P256-SHA256&X-Amz-Credential=A%2F20150830%2Fservice%2Faws4_request&X-Amz-Date=20150830T123600Z&X-Amz-SignedHeaders=host&X-Amz-Signature=00", "", "")
	f.Fuzz(func(t *testing.T, method, path, query, authorization, payload string) {
		r := newRequest(t, http.MethodGet, "https://"+suiteHost, "")
		r.Method, r.URL.Path, r.URL.RawQuery = method, path, query
		r.Header.Set("X-Amz-Date", "20150830T123600Z")
		r.Header["Authorization"] = []string{authorization}
		if payload != "" {
			r.Header.Set("X-Amz-Content-Sha256", payload)
		}
		s := ParseAWS(r)
		if s == nil {
			return
		}
		if verify(s, r, nil, []byte("not the key")) {
			t.Fatal("a signature with any key")
		}
		if !s.Sign(r, nil, []byte("key")) {
			t.Fatal("a parsed request isn't signed")
		}
		again := ParseAWS(r)
		if again == nil || !verify(again, r, nil, []byte("key")) {
			t.Fatalf("signed, it is %+v", again)
		}
		if bytes.Equal(again.signature, s.signature) {
			t.Error(hex.EncodeToString(s.signature))
		}
	})
}

func BenchmarkAWS(b *testing.B) {
	r := suiteRequest(b, "GET", "/-._~0123456789?a=b&c=d", "", "host;x-amz-date", "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f")
	b.ReportAllocs()
	for b.Loop() {
		s := ParseAWS(r)
		s.FindKey(r, nil, [][]byte{[]byte("a")})
		s.Sign(r, nil, []byte("b"))
	}
}
