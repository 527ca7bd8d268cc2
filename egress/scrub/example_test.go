package scrub_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/egress/scrub"
)

func Example() {
	request := http.Header{"Accept-Encoding": {"gzip, dcz"}}
	scrub.Accept(request)
	fmt.Println(request)

	s := scrub.New([]api.Value{api.NewValue([]byte("s3cret-value"))})
	body, err := s.Body(io.NopCloser(strings.NewReader(`{"token": "s3cret-value"}`)), http.Header{})
	if err != nil {
		fmt.Println(err)
		return
	}
	text, err := io.ReadAll(body)
	fmt.Println(string(text), err)
	_, err = s.Body(http.NoBody, http.Header{"Content-Encoding": {"dcz"}})
	fmt.Println(errors.Is(err, scrub.ErrEncoding))
	// Output:
	// map[Accept-Encoding:[gzip]]
	// {"token": "************"} <nil>
	// true
}
