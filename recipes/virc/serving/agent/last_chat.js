// Keeps the chat of the page in this browser, so that a reload does not lose it; none of it is sent anywhere.
// There is one, the last: of two tabs, the one that was asked last. All of this may be refused, in a private window say.

const STORE = "chat";
const ONLY = "last";

function opened() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open("virc");
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

async function stored(mode, action) {
  const database = await opened();
  try {
    const transaction = database.transaction(STORE, mode);
    const request = action(transaction.objectStore(STORE));
    await new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onabort = () => reject(transaction.error);
    });
    return request.result;
  } finally {
    database.close();
  }
}

export const kept = () => stored("readonly", (chats) => chats.get(ONLY));
export const keep = (chat) => stored("readwrite", (chats) => chats.put(chat, ONLY));
export const forget = () => stored("readwrite", (chats) => chats.clear());
