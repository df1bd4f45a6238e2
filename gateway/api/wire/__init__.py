"""What passes over the wire whatever the question: times, problems, pages, base shapes."""
