Programs watch and publish events, keep them up, offer event packages of their own, and send and take messages: `sipd.ua.subscribing`, `publishing`, `notifiers`, `messaging`.
