// Command client is a client that the tests of the egress broker run in a sandbox. For each line of standard input, a URL, it
// makes the requests of its kind, and prints a line with what the server answered. Its kinds are http, grpc, websocket and s3.
package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

var kinds = map[string]func(context.Context, *url.URL) (string, error){"http": get, "grpc": call, "websocket": talk, "s3": store}

func main() {
	if err := run(context.Background(), os.Args[1], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, kind string, in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		u, err := url.Parse(lines.Text())
		if err != nil {
			return err
		}
		answer, err := kinds[kind](ctx, u)
		if err != nil {
			return err
		}
		fmt.Fprintln(out, strings.ReplaceAll(strings.TrimSpace(answer), "\n", " "))
	}
	return lines.Err()
}

func do(r *http.Request) (string, error) {
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	return fmt.Sprintf("%d %s", res.StatusCode, body), err
}

func get(ctx context.Context, u *url.URL) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", err
	}
	r.Header.Set("Authorization", "Bearer "+os.Getenv("API_TOKEN"))
	return do(r)
}

var connection *grpc.ClientConn

// call makes a call, whose message is the path. The answer has the metadata of header and trailer.
func call(ctx context.Context, u *url.URL) (string, error) {
	if connection == nil {
		var err error
		if connection, err = grpc.NewClient("dns:///"+u.Host+":443", grpc.WithTransportCredentials(credentials.NewTLS(nil))); err != nil {
			return "", err
		}
	}
	var answer wrapperspb.StringValue
	var header, trailer metadata.MD
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+os.Getenv("API_TOKEN"))
	err := connection.Invoke(ctx, "/test.Echo/Once", wrapperspb.String(strings.TrimPrefix(u.Path, "/")), &answer, grpc.Header(&header), grpc.Trailer(&trailer))
	return fmt.Sprintf("200 %s, header %s, trailer %s", answer.GetValue(), header.Get("x-echo"), trailer.Get("x-echo-end")), err
}

var conversation *websocket.Conn // stays open

func talk(ctx context.Context, u *url.URL) (string, error) {
	var err error
	//nolint:bodyclose // the connection owns it
	if conversation, _, err = websocket.Dial(ctx, u.String(), &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + os.Getenv("API_TOKEN")}}}); err != nil {
		return "", err
	}
	if err := conversation.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
		return "", err
	}
	_, answer, err := conversation.Read(ctx)
	return "200 " + string(answer), err
}

// store puts an object, and gets it in two ways: with a signed header, and with a signed URL.
func store(ctx context.Context, u *url.URL) (string, error) {
	key := aws.Credentials{AccessKeyID: os.Getenv("AWS_ACCESS_KEY_ID"), SecretAccessKey: os.Getenv("AWS_SECRET_ACCESS_KEY")}
	signer, asS3 := v4.NewSigner(), func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }
	var answers []string
	for _, content := range []string{strings.Repeat("an object of MiB", 3<<16), ""} {
		method := http.MethodPut
		if content == "" {
			method = http.MethodGet
		}
		r, err := http.NewRequestWithContext(ctx, method, u.String(), strings.NewReader(content))
		if err != nil {
			return "", err
		}
		sum := sha256.Sum256([]byte(content))
		hash := hex.EncodeToString(sum[:])
		r.Header.Set("X-Amz-Content-Sha256", hash)
		if err := signer.SignHTTP(ctx, key, r, hash, "s3", "us-east-1", time.Now(), asS3); err != nil {
			return "", err
		}
		answer, err := do(r)
		if err != nil {
			return "", err
		}
		answers = append(answers, answer)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String()+"?X-Amz-Expires=60", nil)
	if err != nil {
		return "", err
	}
	signed, _, err := signer.PresignHTTP(ctx, key, r, "UNSIGNED-PAYLOAD", "s3", "us-east-1", time.Now(), asS3)
	if err != nil {
		return "", err
	}
	if r, err = http.NewRequestWithContext(ctx, http.MethodGet, signed, nil); err != nil {
		return "", err
	}
	answer, err := do(r)
	return strings.Join(append(answers, answer), "; "), err
}
