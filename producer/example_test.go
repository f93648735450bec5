package producer_test

import (
	"context"
	"fmt"
	"log"

	"penstock/producer"
)

// Put many small records and hear what became of each.
func Example() {
	p, err := producer.New(producer.Config{
		Stream: "sensors", Endpoint: "http://localhost:8080",
		Credentials: producer.Environment(), // AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY
		Life:        -1,                     // try for ever
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	go func() { log.Println("ended:", p.Run(ctx)) }()
	for i := range 1000 {
		r := producer.Record{Key: fmt.Sprint("sensor-", i%10), Data: fmt.Appendf(nil, `{"reading":%d}`, i)}
		if err := p.Put(ctx, r, func(res producer.Result) {
			if res.Err != nil {
				log.Println("lost:", res.Err)
			}
		}); err != nil {
			log.Fatal(err)
		}
	}
	if err := p.Close(ctx); err != nil { // sends what is left
		log.Fatal(err)
	}
}
