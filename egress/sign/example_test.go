package sign_test

import (
	"fmt"
	"net/http"

	"github.com/Miosa-osa/miosa-env/egress/sign"
)

func ExampleWebhook() {
	scheme, _ := sign.FindWebhook("github")
	body := []byte("Hello, World!")
	h := http.Header{"X-Hub-Signature-256": {"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}}
	fmt.Println(scheme.Verify(h, body, []byte("It's a Secret to Everybody")))
	// Output: true
}

func ExampleParseAWS() {
	r, _ := http.NewRequest(http.MethodGet, "https://example.com", http.NoBody)
	r.Header.Set("Authorization", "Bearer token")
	fmt.Println(sign.ParseAWS(r) == nil)
	// Output: true
}
